//! Post-processor for compiler output: rewrites 32-bit call, return and stack forms to the ones that x86 interpreters
//! for video BIOSes (libx86emu, X.Org's int10, Windows) execute correctly, and checks the linked ROM.
//!
//! `asm16 rewrite IN.s OUT.s` turns 32-bit near calls and returns into 16-bit ones. The return address then takes two
//! bytes instead of four, so stack arguments (operands at positive offsets from EBP) move down by two bytes.
//! ESP-relative operands and `leal` to ESP become EBP-relative forms or are rejected.
//!
//! `asm16 check LISTING` reads the output of `objdump -d -M i8086` and rejects every instruction that is not in
//! `ALLOWED`.
//!
//! `asm16 finish ROM` pads the ROM to a multiple of 512 bytes and sets its size and checksum.

use std::collections::HashMap;
use std::process::ExitCode;

/// Mnemonics that the ROM may contain.
const ALLOWED: &[&str] = &[
    "adc", "add", "addw", "addl", "addb", "adcl", "and", "andb", "andl", "andw", "bsf", "bsr", "bt", "btw", "call",
    "cld", "cli", "cltd", "cwtl", "cbtw", "cwtd", "cmp", "cmpb", "cmpl", "cmpw", "dec", "decb", "decl", "decw", "div", "divb",
    "divl", "divw", "idiv", "imul", "in", "inc", "incb", "incl", "incw", "iret", "ja", "jae", "jb", "jbe", "jcxz",
    "je", "jg", "jge", "jl", "jle", "jmp", "jne", "jno", "jnp", "jns", "jo", "jp", "js", "lea", "leal", "leaw", "lods",
    "loop", "lret", "mov", "movb", "movl", "movw", "movsbl", "movsbw", "movswl", "movzbl", "movzbw", "movzwl", "mul",
    "mulb", "mull", "mulw", "neg", "negb", "negl", "negw", "nop", "not", "notb", "notl", "notw", "or", "orb", "orl",
    "orw", "out", "pop", "popf", "popl", "popw", "push", "pushf", "pushl", "pushw", "rcl", "rcr", "rep", "ret", "rol",
    "ror", "rolb", "rolw", "roll", "rorw", "rorl", "sar", "sarb", "sarl", "sarw", "sbb", "sbbb", "sbbl", "sbbw",
    "seta", "setae", "setb", "setbe", "sete", "setg", "setge", "setl", "setle", "setne", "setns", "sets", "setno",
    "seto", "shl", "shlb", "shld", "shll", "shlw", "shr", "shrb", "shrd", "shrl", "shrw", "sti", "sub", "subb", "subl",
    "subw", "test", "testb", "testl", "testw", "xchg", "xor", "xorb", "xorl", "xorw", "movsb", "movsl", "movsw",
    "stosl", "stosw", "xlat", "movs", "stos", "imull", "jno", "js", "ins", "outs", "cwtl", "cbtw",
];

/// Lowers the offset of every operand `n(%ebp...)` with `n` of 8 or more by 2.
fn lower_arguments(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("(%ebp") {
        let digits = rest[..at].bytes().rev().take_while(u8::is_ascii_digit).count();
        let start = at - digits;
        out.push_str(&rest[..start]);
        match rest[start..at].parse::<u32>() {
            Ok(n) if n >= 8 && !rest[..start].ends_with('-') => out.push_str(&(n - 2).to_string()),
            _ => out.push_str(&rest[start..at]),
        }
        out.push_str("(%ebp");
        rest = &rest[at + 5..];
    }
    out + rest
}

/// Depth of ESP below EBP before each line, where it is known: followed from the frame's setup along every jump. With
/// the depth, an ESP-relative operand can be written EBP-relative.
fn depths(lines: &[&str]) -> Result<Vec<Option<i32>>, String> {
    let parts = |line: &str| -> (String, String) {
        let text = line.trim();
        let (op, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        (op.to_owned(), operands.trim().to_owned())
    };
    // Bytes of arguments that each function pops on return.
    let (mut labels, mut popped, mut function) = (HashMap::new(), HashMap::new(), String::new());
    for (at, line) in lines.iter().enumerate() {
        if let Some(label) = line.strip_suffix(':').filter(|label| !label.starts_with(char::is_whitespace)) {
            labels.insert(label.to_owned(), at);
            if !label.starts_with('.') {
                function = label.to_owned();
            }
        }
        let (op, operands) = parts(line);
        if let (true, Some(bytes)) = (op == "retl", operands.strip_prefix('$')) {
            let bytes: i32 =
                bytes.parse().map_err(|_| format!("line {}: RETL with a non-numeric constant: {line}", at + 1))?;
            popped.insert(function.clone(), bytes);
        }
    }
    let mut depths = vec![None; lines.len() + 1];
    let is = |line: &str, op: &str, operands: &str| parts(line) == (op.to_owned(), operands.to_owned());
    let frames =
        (1..lines.len()).filter(|&at| is(lines[at - 1], "pushl", "%ebp") && is(lines[at], "movl", "%esp, %ebp"));
    let mut branches: Vec<(usize, i32)> = frames.map(|at| (at + 1, 0)).collect();
    while let Some((mut at, mut depth)) = branches.pop() {
        while at < lines.len() {
            match depths[at] {
                None => depths[at] = Some(depth),
                Some(known) if known == depth => break,
                Some(known) => {
                    return Err(format!(
                        "line {}: ESP is {known} or {depth} bytes below EBP, depending on the path",
                        at + 1
                    ));
                }
            }
            let (op, operands) = parts(lines[at]);
            let constant = |suffix: &str| {
                operands.strip_suffix(suffix).and_then(|n| n.strip_prefix('$')).and_then(|n| n.parse::<i32>().ok())
            };
            match op.as_str() {
                "pushl" => depth += 4,
                "pushw" => depth += 2,
                // Popping EBP ends the frame.
                "popl" if operands == "%ebp" => break,
                "popl" => depth -= 4,
                "popw" => depth -= 2,
                "retl" | "retw" | "iretw" | "lretw" | "ud2" => break,
                "calll" => depth -= popped.get(&operands).copied().unwrap_or(0),
                "subl" | "addl" if operands.ends_with(", %esp") => match constant(", %esp") {
                    Some(bytes) => depth += if op == "subl" { bytes } else { -bytes },
                    None => return Err(format!("line {}: unknown change of ESP: {}", at + 1, lines[at])),
                },
                "leal" if operands.ends_with("(%esp), %esp") => {
                    depth -= operands.trim_end_matches("(%esp), %esp").parse::<i32>().unwrap_or(0);
                }
                "leal" if operands.ends_with("(%ebp), %esp") => {
                    depth = -operands.trim_end_matches("(%ebp), %esp").parse::<i32>().unwrap_or(0);
                }
                "andl" if is_alignment(&operands) => {}
                "jmp" => match labels.get(&operands) {
                    Some(&to) if operands.starts_with('.') => {
                        at = to;
                        continue;
                    }
                    _ => break,
                },
                _ if op.starts_with('j') => {
                    if let Some(&to) = labels.get(&operands) {
                        branches.push((to, depth));
                    }
                }
                _ if operands.ends_with(", %esp") => {
                    return Err(format!("line {}: unknown change of ESP: {}", at + 1, lines[at]));
                }
                _ => {}
            }
            at += 1;
        }
    }
    Ok(depths)
}

/// Whether the operands of an AND align ESP downwards.
fn is_alignment(operands: &str) -> bool {
    operands.starts_with("$-") && operands.ends_with(", %esp")
}

/// Rewrites `n(%esp)` as an EBP-relative operand; ESP is `depth` bytes below EBP.
fn at_frame(line: &str, depth: i32) -> Option<String> {
    let at = line.find("(%esp")?;
    let start = line[..at].rfind(|c: char| !c.is_ascii_digit() && c != '-').map_or(0, |before| before + 1);
    let offset: i32 = if start == at { 0 } else { line[start..at].parse().ok()? };
    Some(format!("{}{}(%ebp{}", &line[..start], offset - depth, &line[at + 5..]))
}

fn rewrite(source: &str) -> Result<String, String> {
    // The compiler does not emit .code16 if the crate has global_asm!.
    let mut out = ".code16\n".to_owned();
    let lines: Vec<&str> = source.lines().collect();
    let depths = depths(&lines)?;
    for (number, line) in lines.iter().copied().enumerate() {
        let fail = |why: &str| Err(format!("line {}: {why}: {}", number + 1, line.trim()));
        let text = line.trim();
        let (op, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let operands = operands.trim();
        let new = match op {
            "calll" if operands.starts_with('*') => return fail("indirect call"),
            "calll" => format!("\tcallw\t{operands}"),
            "retl" => format!("\tretw\t{operands}"),
            "leavel" => "\tmovl\t%ebp, %esp\n\tpopl\t%ebp".to_owned(),
            // Drop the alignment: no instruction in the ROM needs it, and the depth stays known.
            "andl" if is_alignment(operands) => String::new(),
            // The compiler uses this form only where the flags are live: pop the bytes into the register that is
            // restored next.
            "leal" if operands.ends_with("(%esp), %esp") => {
                let bytes = operands.trim_end_matches("(%esp), %esp").parse::<usize>().unwrap_or(1);
                let next = lines.get(number + 1).map_or("", |next| next.trim());
                if bytes % 4 != 0 || !next.starts_with("popl") {
                    return fail("LEA to ESP");
                }
                vec![format!("\t{next}"); bytes / 4].join("\n")
            }
            "leal" if operands.ends_with(", %esp") => {
                let Some(offset) = operands.strip_suffix("(%ebp), %esp").and_then(|n| n.parse::<i32>().ok()) else {
                    return fail("LEA to ESP");
                };
                format!("\tmovl\t%ebp, %esp\n\tsubl\t${}, %esp", -offset)
            }
            // BSWAP needs a 486. The rotates that replace it change CF, which BSWAP does not.
            "bswapl" => {
                let next = lines.get(number + 1).map_or("", |next| next.trim());
                if ["j", "set", "adc", "sbb", "rc"].iter().any(|op| next.starts_with(op)) {
                    return fail("BSWAP before an instruction that uses the flags");
                }
                let half = operands.replacen("%e", "%", 1);
                format!("\trolw\t$8, {half}\n\troll\t$16, {operands}\n\trolw\t$8, {half}")
            }
            _ if text.contains("(%esp") => {
                let Some(new) = depths[number].and_then(|depth| at_frame(line, depth)) else {
                    return fail("ESP-relative operand at unknown depth");
                };
                if new.contains("(%esp") {
                    return fail("two ESP-relative operands");
                }
                new
            }
            _ if text.contains("(%ebp") => lower_arguments(line),
            _ => line.to_owned(),
        };
        out.push_str(&new);
        out.push('\n');
    }
    Ok(out)
}

/// Checks a line of the listing: address, bytes, instruction.
fn check_line(line: &str) -> Result<(), String> {
    let mut fields = line.splitn(3, '\t');
    let (Some(_), Some(bytes), Some(text)) = (fields.next(), fields.next(), fields.next()) else { return Ok(()) };
    let text = text.split('#').next().unwrap_or("").trim();
    let mut words = text.split_whitespace();
    let mut op = words.next().unwrap_or("");
    while matches!(op, "rep" | "cs" | "es" | "addr32" | "data32") {
        op = words.next().unwrap_or("");
    }
    let mut bytes = bytes.split_whitespace();
    let fail = |why: &str| Err(format!("{why}: {}", line.trim()));
    let (mut wide, mut prefixed) = (false, false);
    let opcode = loop {
        match bytes.next() {
            // X.Org's interpreter ignores prefixes before REP: it would move half as much, or use another segment.
            Some("f3") if prefixed => return fail("REP after another prefix"),
            Some("f3") => {}
            Some(prefix @ ("66" | "67" | "26" | "2e")) => {
                wide |= prefix == "66";
                prefixed = true;
            }
            other => break other.unwrap_or(""),
        }
    };
    if wide && matches!(opcode, "e8" | "c3" | "c2" | "c9" | "cb" | "ca" | "cf" | "9a" | "e9" | "eb") {
        return fail("32-bit jump, call or return");
    }
    if text.contains("(%esp") || op.starts_with("lea") && text.ends_with("%esp") {
        return fail("ESP-relative addressing");
    }
    if text.contains("%fs") || text.contains("%gs") || text.contains("%cr") || text.contains("%dr") {
        return fail("FS, GS, control or debug register");
    }
    if op == "call" && text.contains('*') || op == "jmp" && text.contains('*') {
        return fail("indirect jump or call");
    }
    if !ALLOWED.contains(&op) {
        return fail("instruction not in ALLOWED");
    }
    Ok(())
}

fn check(listing: &str) -> Result<String, String> {
    let mut count = 0;
    for line in listing.lines().filter(|line| line.starts_with(' ')) {
        check_line(line)?;
        count += 1;
    }
    if count < 1000 {
        return Err(format!("the listing has only {count} instructions: not a complete disassembly"));
    }
    Ok(format!("{count} instructions checked"))
}

fn finish(rom: &mut Vec<u8>) -> Result<String, String> {
    let used = rom.len();
    rom.resize(used.next_multiple_of(512), 0xff);
    let pages = u8::try_from(rom.len() / 512).map_err(|_| "the ROM is larger than 255 units of 512 bytes")?;
    rom[2] = pages;
    let pcir = usize::from(u16::from_le_bytes([rom[0x18], rom[0x19]]));
    if pcir != 0 {
        if rom.get(pcir..pcir + 4) != Some(b"PCIR") {
            return Err("no PCI data structure at the offset in word 18h".to_owned());
        }
        rom[pcir + 0x10] = pages;
    }
    rom[7] = 0;
    rom[7] = 0u8.wrapping_sub(rom.iter().fold(0, |sum, byte| sum.wrapping_add(*byte)));
    Ok(format!("{used} bytes used of {}", rom.len()))
}

fn run() -> Result<String, String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["rewrite", from, to] => {
            let text = rewrite(&read(from)?).map_err(|why| format!("{from}: {why}"))?;
            std::fs::write(to, text).map_err(|error| format!("{to}: {error}"))?;
            Ok(String::new())
        }
        ["check", listing] => check(&read(listing)?),
        ["finish", path] => {
            let mut rom = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            let message = finish(&mut rom)?;
            std::fs::write(path, rom).map_err(|error| format!("{path}: {error}"))?;
            Ok(message)
        }
        _ => Err("usage: asm16 rewrite IN OUT | check LISTING | finish ROM".to_owned()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(message) => {
            if !message.is_empty() {
                println!("{message}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("asm16: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_returns_and_arguments_become_16_bit() {
        let made = rewrite("\tcalll\tf\n\tmovl\t8(%ebp), %eax\n\tmovb\t12(%ebp,%ecx), %al\n\tretl\t$4\n").unwrap();
        assert_eq!(made, ".code16\n\tcallw\tf\n\tmovl\t6(%ebp), %eax\n\tmovb\t10(%ebp,%ecx), %al\n\tretw\t$4\n");
    }

    #[test]
    fn operands_below_the_return_address_keep_their_offsets() {
        for line in ["\tmovl\t-8(%ebp), %eax\n", "\tleal\t-16(%ebp,%edx), %ecx\n", "\tmovl\t(%ebp), %eax\n"] {
            assert_eq!(rewrite(line).unwrap(), format!(".code16\n{line}"));
        }
    }

    #[test]
    fn esp_relative_operands_become_ebp_relative() {
        let made = rewrite(concat!(
            "f:\n\tpushl\t%ebp\n\tmovl\t%esp, %ebp\n\tpushl\t%esi\n\tsubl\t$12, %esp\n\tje\t.L1\n\tmovl\t$1, 4(%esp)\n",
            "\tmovl\t%eax, (%esp)\n\tcalll\tg\n\tsubl\t$8, %esp\n.L1:\n\tleal\t8(%esp), %ecx\n\taddl\t$12, %esp\n",
            "\tpopl\t%esi\n\tpopl\t%ebp\n\tretl\ng:\n\tretl\t$8\n"
        ))
        .unwrap();
        for line in ["\tmovl\t$1, -12(%ebp)\n", "\tmovl\t%eax, -16(%ebp)\n", "\tleal\t-8(%ebp), %ecx\n"] {
            assert!(made.contains(line), "{line} in {made}");
        }
    }

    #[test]
    fn forms_without_a_16_bit_equivalent_are_rejected() {
        for line in ["\tmovl\t%eax, 4(%esp)\n", "\tcalll\t*%eax\n", "\tleal\t4(%esp), %esp\n\tjb\t.L1\n"] {
            assert!(rewrite(line).is_err(), "{line}");
        }
    }

    #[test]
    fn instructions_that_interpreters_get_wrong_are_rejected() {
        for line in [
            "  10:\t66 c3                \tretl",
            "  10:\t67 66 8b 44 24 04    \tmov    0x4(%esp),%eax",
            "  10:\t0f 01 16 00 00       \tlgdtw  0x0",
            "  10:\t0f 0b                \tud2",
            "  10:\tf4                   \thlt",
            "  10:\t66 ff d0             \tcall   *%eax",
            "  10:\t66 f3 a5             \trep movsl %ds:(%si),%es:(%di)",
        ] {
            assert!(check_line(line).is_err(), "{line}");
        }
        for line in
            ["67 66 8b 45 06       \tmov    0x6(%ebp),%eax", "f3 66 a5             \trep movsl %ds:(%si),%es:(%di)"]
        {
            assert_eq!(check_line(&format!("  10:\t{line}")), Ok(()));
        }
    }
}
