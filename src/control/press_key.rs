//! `--press-key-for-cd`: presses Enter when the boot loader of an installation CD asks "Press any key to boot from CD".
//! Windows' CDs ask this when the hard disk is bootable, and boot the hard disk if no key is pressed within 5 s.
//!
//! The loader prints the question, in the language of the CD, as the last line of the screen and a dot after it each second.
//! So a prompt is a line that names a key, booting and a medium in one of these languages, and ends in a dot. Loaders print
//! in the code page of their language with the adapter's font, so a letter that is not ASCII appears as another character:
//! the patterns take any character there, and name Russian and Greek words by what code pages 866 and 737 show. Japanese
//! CDs ask in English.
//!
//! The key is pressed once per machine: when setup restarts the machine, the hard disk must boot.

use regex::{Regex, RegexBuilder};
use std::time::Duration;

/// Interval at which the screen is polled; the prompt is shown for 5 s.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// Number of polls, 10 minutes in all. The prompt appears right after the firmware, so it will not come later.
pub const LOOKS: u32 = 4 * 600;
/// The key that is pressed: Enter.
pub const ANSWER: u16 = 0x1c;

/// The media of the prompts.
const MEDIUM: &str =
    r"\b(?:cd|dvd|bd)\b|\b(?:cd|dvd)-?(?:rom|r.n)\b|\b(?:compact )?dis[ck]s?\b|\bmedi(?:um|a)\b|\bdisqu?e?\b|\bdisco\b";

/// Sentences of the prompts, from the key to what comes before the medium; `.` stands for a letter that is not ASCII.
#[rustfmt::skip]
const SENTENCES: [&str; 25] = [
    // English.
    r"(?:press|hit|strike) (?:any|a) key to (?:boot|start)\b.*\b(?:from|off)\b",
    // German.
    r"dr.cken sie eine (?:beliebige )?taste,? um (?:von|vom)\b",
    r"(?:eine )?beliebige taste dr.cken,? um (?:von|vom)\b",
    // French.
    r"appuyez sur (?:une|n'importe quelle) touche pour (?:d.marrer|lancer|amorcer)\b.*\b(?:du|depuis|partir)\b",
    // Spanish.
    r"(?:presione|pulse|oprima) (?:cualquier|una) tecla para (?:iniciar|arrancar)\b.*\b(?:desde|del?)\b",
    // Italian.
    r"prem(?:ere|i) un tasto(?: qualsiasi)? per (?:avviare|l'avvio|eseguire l'avvio)\b.*\b(?:da|dal)\b",
    // Dutch.
    r"druk op een (?:willekeurige )?toets om\b.*\b(?:vanaf|van)\b",
    // Portuguese of Portugal and Brazil.
    r"(?:prima|pressione) (?:qualquer|uma) tecla para (?:iniciar|arrancar|inicializar)\b.*\b(?:do|da|de|partir)\b",
    // Swedish.
    r"tryck (?:ned |ner )?(?:p. )?(?:en |valfri |vilken |godtycklig )*tangent(?: som helst)? f.r att starta\b.*\bfr.n\b",
    // Danish.
    r"tryk p. en (?:vilk.rlig |hvilken som helst )?tast for at starte\b.*\bfra\b",
    // Norwegian.
    r"trykk (?:p. )?(?:en )?(?:vilk.rlig |valgfri |hvilken som helst )?tast for . starte\b.*\bfra\b",
    // Polish.
    r"naci.nij dowolny klawisz,? aby (?:uruchomi.|rozpocz..)\b.*\bz\b",
    // Czech.
    r"stiskn.te libovolnou kl.vesu\b.*\bz\b",
    r"stisknut.m libovoln. kl.vesy\b.*\bz\b",
    // Slovak.
    r"stla.te .*kl.ves\b.*\bz\b",
    // Turkish.
    r"b.lg.sayar. (?:a|ba.lat)mak i.in.*tu.a bas.n",
    // English of other loaders.
    r"to boot from .*press any key\b.*\bfrom\b",
    // Romanian.
    r"ap.sa.i (?:o|orice) tast. pentru a porni\b.*\bde pe\b",
    // Slovenian and Croatian.
    r"pritisnite (?:poljubno|katero koli|bilo koju) tipk[ou]\b.*\b(?:z|s|sa)\b",
    // Estonian.
    r"vajutage .*klahvi\b.*\bk.ivita\w*",
    // Catalan.
    r"premeu (?:una|qualsevol) tecla per (?:iniciar|arrencar)\b.*\b(?:des|del?)\b",
    // Icelandic.
    r".ttu . einhvern lykil til a. r.sa\b.*\bfr.\b",
    // Latvian and Lithuanian.
    r"nospiediet jebkuru tausti.u\b.*\bno\b",
    r"paspauskite bet kur. klavi..\b.*\bi.\b",
    // Basque.
    r"sakatu edozein tekla\b.*\babiarazteko\b",
];
