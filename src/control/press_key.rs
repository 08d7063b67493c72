//! `--press-key-for-cd`: presses Enter when the boot loader of an installation CD asks "Press any key to boot from CD".
//! Windows' CDs ask this when the hard disk is bootable, and boot the hard disk if no key is pressed within 5 s.
//!
//! The loader prints the question as the last line of the screen, in the language of the CD, and a dot after it each second.
//! So a prompt is a last line that names a key to press, booting from something and a disc, in one of these languages, and
//! ends in a dot. Loaders print in the code page of their language with the adapter's font, so that letters outside ASCII
//! appear as others: the patterns take any character for them, and have Russian and Greek words as code pages 866 and 737
//! appear. Japanese CDs ask in English.
//!
//! The key is pressed once per machine: when setup restarts the machine, the hard disk must boot.

use pcvm_devices::vga::cp437;
use regex::{Regex, RegexBuilder};
use std::sync::LazyLock;
use std::time::Duration;

/// Interval at which the screen is polled; the prompt is shown for 5 s.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// Number of polls, 10 minutes in all. The prompt appears right after the firmware, so it will not come later.
pub const LOOKS: u32 = 4 * 600;
/// The key that is pressed: Enter.
pub const ANSWER: u16 = 0x1c;

/// What is booted from.
const MEDIUM: &str =
    r"\b(?:cd|dvd|bd)(?:-?rom)?\b|\b(?:compact )?disc\b|\bdisco\b|\bdisque\b|\bdisku\b|\bmedi(?:um|a|o)\b";

/// For each language the key to press, and booting from something. `.` stands for a letter that is not ASCII.
#[rustfmt::skip]
const LANGUAGES: [(&str, &str); 15] = [
    // English.
    (r"\b(?:press|hit|strike) (?:any|a) key\b", r"\bto (?:boot|start)\b.*\b(?:from|off)\b"),
    // German.
    (r"\bdr.cken sie .*\btaste\b|\btaste dr.cken\b", r"\b(?:von|vom)\b.*\b(?:starten|booten)\b"),
    // French.
    (r"\b(?:appuyez sur|pressez) (?:une|n'importe quelle) touche\b", r"\bpour (?:d.marrer|amorcer)\b.*\b(?:du|depuis|partir)\b"),
    // Spanish.
    (r"\b(?:presione|pulse|oprima) (?:cualquier|una) tecla\b", r"\bpara (?:iniciar|arrancar)\b.*\b(?:desde|del?)\b"),
    // Italian.
    (r"\bpremere (?:un|qualsiasi) tasto\b", r"\bper (?:avviare|(?:eseguire )?l'avvio)\b.*\b(?:da|dal)\b"),
    // Dutch.
    (r"\bdruk op een .*\btoets\b|\bdruk op een toets\b", r"\b(?:van|vanaf)\b.*\b(?:op)?(?:te )?starten\b|\bstarten (?:van|vanaf)\b"),
    // Portuguese, in Portugal and Brazil.
    (r"\b(?:prima|pressione|carregue em) (?:qualquer|uma) tecla\b", r"\bpara (?:iniciar|arrancar|inicializar)\b.*\b(?:do|da|de|partir)\b"),
    // Swedish.
    (r"\btryck\b.*\btangent\b", r"\bstarta\b.*\bfr.n\b"),
    // Danish and Norwegian.
    (r"\btrykk?\b.*\btast\b", r"\bstarte\b.*\bfra\b"),
    // Finnish.
    (r"\bpaina(?:malla)?\b.*\bn.pp.int.", r"\bk.ynnist"),
    // Polish.
    (r"\bnaci.nij\b.*\bklawisz\b", r"\b(?:uruchomi|rozpocz|rozruch).*\bz\b"),
    // Czech.
    (r"\bstiskn.t(?:e|.m)\b.*\bkl.ves", r"\b(?:spu.t|zav|start).*\bz\b"),
    // Hungarian.
    (r"\bnyomj(?:a|on)\b.*\bbillenty", r"(?:ind.t|bet.lt)"),
    // Russian: the words follow in `patterns`.
    ("", ""),
    // Greek: likewise.
    ("", ""),
];

/// A word in a code page that has the letters from `first` on at `at` and on, as code page 437 shows it.
fn shown(word: &str, bytes: impl Fn(char) -> Option<u8>) -> String {
    let shown = |c| bytes(c).map_or_else(|| ".".to_owned(), |byte| regex::escape(&cp437(byte).to_string()));
    word.chars().map(shown).collect()
}

/// Code page 866: Russian letters without Ё.
fn cp866(c: char) -> Option<u8> {
    let code = u32::from(c);
    match c {
        'А'..='п' => u8::try_from(code - 0x410 + 0x80).ok(),
        'р'..='я' => u8::try_from(code - 0x440 + 0xe0).ok(),
        _ => None,
    }
}

/// Code page 737: Greek letters without accents.
fn cp737(c: char) -> Option<u8> {
    let code = u32::from(c);
    match c {
        'α'..='ρ' => u8::try_from(code - 0x3b1 + 0x98).ok(),
        'σ' => Some(0xa9),
        'τ'..='ψ' => u8::try_from(code - 0x3c4 + 0xab).ok(),
        'ω' => Some(0xe0),
        _ => None,
    }
}

/// The patterns of each language: all must be found.
fn patterns() -> Vec<[Regex; 2]> {
    let russian = [format!("{}.*{}", shown("ажмите", cp866), shown("клавиш", cp866)), shown("агруз", cp866)];
    let greek = [format!("{}.*{}", shown("ατήστε", cp737), shown("πλήκτρο", cp737)), shown("κκίνηση", cp737)];
    let pairs =
        LANGUAGES.iter().filter(|(key, _)| !key.is_empty()).map(|&(key, boot)| [key.to_owned(), boot.to_owned()]);
    let compile = |text: &String| RegexBuilder::new(text).case_insensitive(true).build().ok();
    let pairs = pairs.chain([russian, greek]);
    pairs.filter_map(|[key, boot]| Some([compile(&key)?, compile(&boot)?])).collect()
}

/// Whether the text screen shows the prompt of a CD or DVD as its last line.
pub fn asks(screen: &[String]) -> bool {
    static PATTERNS: LazyLock<Vec<[Regex; 2]>> = LazyLock::new(patterns);
    static DISC: LazyLock<Option<Regex>> =
        LazyLock::new(|| RegexBuilder::new(MEDIUM).case_insensitive(true).build().ok());
    let Some(last) = screen.iter().rposition(|row| !row.trim().is_empty()) else { return false };
    let Some(row) = screen.get(last) else { return false };
    if !row.trim_end().ends_with('.') {
        return false;
    }
    // A long sentence fills the row before.
    let before = last.checked_sub(1).and_then(|n| screen.get(n)).filter(|row| !row.ends_with(' ') && !row.is_empty());
    let text = before.map_or(String::new(), Clone::clone) + row;
    let has = |regex: &Regex| regex.is_match(&text);
    DISC.as_ref().is_some_and(has) && PATTERNS.iter().any(|patterns| patterns.iter().all(has))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen of 80 columns that ends with `text`.
    fn screen(text: &str) -> Vec<String> {
        let text: Vec<char> = text.chars().collect();
        let rows = text.chunks(80).map(|row| format!("{:80}", row.iter().collect::<String>()));
        [format!("{:80}", "Booting from CD..."), " ".repeat(80)]
            .into_iter()
            .chain(rows)
            .chain([" ".repeat(80)])
            .collect()
    }

    #[test]
    fn the_prompts_of_windows_cds_are_recognised_in_their_languages() {
        assert_eq!(patterns().len(), LANGUAGES.len(), "a pattern is no regular expression");
        for text in [
            "Press any key to boot from CD..",
            "Press any key to boot from CD or DVD.....",
            "PRESS ANY KEY TO BOOT FROM CD-ROM.",
            "Press any key to boot from the ReactOS medium.....",
            "Press any key to boot from installation media.....",
            "Press a key to start from the disc...",
            "Drücken Sie eine beliebige Taste, um von CD zu starten...",
            "Drücken Sie eine beliebige Taste, um von der CD oder DVD zu starten..",
            "Eine beliebige Taste drücken, um von CD zu starten.",
            "Appuyez sur n'importe quelle touche pour démarrer du CD-ROM...",
            "Appuyez sur une touche pour démarrer à partir du CD-ROM ou du DVD-ROM..",
            "Presione cualquier tecla para iniciar desde el CD o DVD...",
            "Presione cualquier tecla para arrancar desde CD.",
            "Premere un tasto per avviare da CD-ROM o DVD-ROM..",
            "Premere un tasto qualsiasi per eseguire l'avvio da CD...",
            "Druk op een toets om vanaf cd of dvd op te starten..",
            "Druk op een willekeurige toets om van cd te starten...",
            "Prima qualquer tecla para arrancar a partir do CD ou DVD..",
            "Pressione qualquer tecla para iniciar do CD ou DVD...",
            "Tryck på valfri tangent för att starta från CD eller DVD..",
            "Tryk på en vilkårlig tast for at starte fra cd eller dvd..",
            "Trykk en tast for å starte fra CD eller DVD..",
            "Käynnistä CD- tai DVD-levyltä painamalla mitä tahansa näppäintä..",
            "Naci╝nij dowolny klawisz, aby uruchomiå z dysku CD lub DVD..",
            "Stiskn╪te libovolnou klávesu pro spušt╪ní z disku CD nebo DVD..",
            "Stisknut¡m libovolné klávesy spustíte systém z disku CD nebo DVD...",
            "A CD-ről vagy DVD-ről történő rendszerindításhoz nyomjon meg egy billentyűt..",
        ] {
            assert!(asks(&screen(text)), "{text}");
        }
        let cp866 = |text: &str| -> String { text.chars().map(|c| cp866(c).map_or(c, cp437)).collect() };
        let russian = cp866("Для загрузки с CD или DVD нажмите любую клавишу...");
        assert!(russian.starts_with('ä'));
        assert!(asks(&screen(&russian)));
        let cp737 = |text: &str| -> String { text.chars().map(|c| cp737(c).map_or(c, cp437)).collect() };
        assert!(asks(&screen(&cp737("Πατήστε οποιοδήποτε πλήκτρο για εκκίνηση από CD ή DVD.."))));
        let long = format!("{}Press any key to boot from CD..", "#".repeat(60));
        assert!(asks(&screen(&long)), "a sentence in two rows");
    }

    #[test]
    fn other_sentences_about_keys_are_no_prompts() {
        for text in [
            "",
            "Press any key to boot from floppy..",
            "Press any key to boot from hard disk..",
            "Press any key to boot from ",
            "Press any key to boot from CD",
            "Press any key to reboot.",
            "Press any key to continue...",
            "Remove disks or other media. Press any key to restart.",
            "Insert boot disc and press any key.",
            "Reboot and Select proper Boot device or Insert Boot Media in selected Boot device and press a key.",
            "Non-System disk or disk error. Replace and press any key when ready...",
            "Legen Sie die CD ein und drücken Sie eine beliebige Taste.",
            "Drücken Sie eine beliebige Taste, um den Computer neu zu starten.",
            "Appuyez sur une touche pour redémarrer. Retirez le CD.",
            "The CD asks: Press any key to boot from CD. Then setup starts",
        ] {
            assert!(!asks(&screen(text)), "{text}");
        }
        let mut scrolled = screen("Press any key to boot from CD..");
        scrolled.push("Setup is inspecting your computer's hardware configuration...".to_owned());
        assert!(!asks(&scrolled), "the prompt is over");
    }
}
