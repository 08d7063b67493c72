//! Error text shared by all modules.

/// The text of an I/O error without the "(os error N)" that std appends.
pub(crate) fn host_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}
