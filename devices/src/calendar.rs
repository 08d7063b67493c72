//! Gregorian calendar arithmetic: dates to and from seconds since 1970-01-01, without time zones.

/// Date and time. Fields may be out of range: the excess carries over into the next larger field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Gregorian, also before 1582.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
}

/// Seconds per day.
pub const DAY: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// Days per 400 years.
const ERA: i64 = 146_097;

impl Calendar {
    /// The date and time `seconds` after 1970-01-01.
    // Inside, years begin in March, so that the leap day is the last day of a year.
    pub fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY) + EPOCH_DAYS;
        let of_day = seconds.rem_euclid(DAY);
        let era = days.div_euclid(ERA);
        let day_of_era = days.rem_euclid(ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// Seconds since 1970-01-01.
    pub fn seconds(self) -> i64 {
        let month = self.month - 1;
        let year = self.year + month.div_euclid(12);
        let month = month.rem_euclid(12) + 1;
        let from_march = (month + 9) % 12;
        let year = year - i64::from(month <= 2);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * from_march + 2) / 5;
        let days = year.div_euclid(400) * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (days + self.day - 1 - EPOCH_DAYS) * DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// The day of the week in the MC146818's encoding: 1 is Sunday. 1970-01-01 was a Thursday.
    pub fn weekday(seconds: i64) -> i64 {
        (seconds.div_euclid(DAY) + 4).rem_euclid(7) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_from_1900_to_2099_converts_in_both_directions() {
        let at = |year, month, day| Calendar { year, month, day, hour: 0, minute: 0, second: 0 };
        let mut seconds = at(1900, 1, 1).seconds();
        assert_eq!(seconds, -2_208_988_800);
        assert_eq!(Calendar::weekday(seconds), 2, "1900-01-01 was a Monday");
        for year in 1900..2100 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (month, days) in (1..).zip([31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=days {
                    assert_eq!(Calendar::from_seconds(seconds), at(year, month, day));
                    assert_eq!(Calendar::from_seconds(seconds + DAY - 1).day, day);
                    assert_eq!(at(year, month, day).seconds(), seconds);
                    seconds += DAY;
                }
            }
        }
        assert_eq!(seconds, 4_102_444_800);
    }

    #[test]
    fn fields_out_of_range_carry_over() {
        let overflowing = Calendar { year: 2023, month: 14, day: 30, hour: 25, minute: 61, second: 75 };
        let normal = Calendar { year: 2024, month: 3, day: 2, hour: 2, minute: 2, second: 15 };
        assert_eq!(Calendar::from_seconds(overflowing.seconds()), normal);
    }
}
