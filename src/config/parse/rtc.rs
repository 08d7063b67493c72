//! `--rtc`: the time of the real-time clock at power-on.

use super::OptionError;
use crate::config::RtcBase;

/// `utc`, `localtime`, or the date and time that the guest reads at power-on: `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS`,
/// years 1970 to 2099.
///
/// # Errors
/// If the form or the date is invalid.
pub fn rtc(text: &str) -> Result<RtcBase, OptionError> {
    const EXPECTED: &str = "utc, localtime or a date such as 2006-06-17T16:01:21";
    match text {
        "utc" => Ok(RtcBase::Utc),
        "localtime" => Ok(RtcBase::LocalTime),
        _ => {
            let (date, time) = match text.split_once('T') {
                Some((date, time)) => (date, time),
                None => (text, "00:00:00"),
            };
            let wrong = || OptionError::NotOneOf { value: text.to_owned(), expected: EXPECTED };
            let [year, month, day] = numbers(date, '-', [4, 2, 2]).ok_or_else(wrong)?;
            let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).ok_or_else(wrong)?;
            if month == 0 || month > 12 || day == 0 || hour > 23 || minute > 59 || second > 59 {
                return Err(wrong());
            }
            if day > days_in_month(year, month) {
                return Err(wrong());
            }
            if !(1970..=2099).contains(&year) {
                return Err(OptionError::Year(year));
            }
            let time = i64::from(hour * 3600 + minute * 60 + second);
            Ok(RtcBase::Date(days_since_1970(year, month, day) * 86_400 + time))
        }
    }
}

/// Parses three decimal numbers, each with exactly the number of digits given.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[u32; 3]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let parts: [&str; 3] = parts.try_into().ok()?;
    let mut numbers = [0; 3];
    for ((number, part), digits) in numbers.iter_mut().zip(parts).zip(digits) {
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    Some(numbers)
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date in 1970 or later.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let years: u32 = (1970..year).map(|y| if is_leap(y) { 366 } else { 365 }).sum();
    let months: u32 = (1..month).map(|m| days_in_month(year, m)).sum();
    i64::from(years + months + day - 1)
}
