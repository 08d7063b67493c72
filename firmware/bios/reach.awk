# Reads `objdump -d` of the BIOS and fails if code calls or jumps to code outside its segment's reach (bios/link.ld).
# Boot code (.boot) runs in a segment that ends at F000:A7FF; all other code runs in one that starts at F000:0000.
# So code outside .boot must not call into .boot, and code reachable from .boot must neither be in .high nor call through a
# pointer, which is an offset in segment F000h.
/^Disassembly of section/ { section = $4; sub(/:$/, "", section) }
/^[0-9a-f]+ <.*>:$/ {
  name = $2; gsub(/[<>:]/, "", name)
  at[name] = section; function_count++
  next
}
name != "" && /\t(call|jmp|j[a-z]+)/ {
  # ... 1234 <symbol+0x12>
  if (match($0, /<[^>+]*[+>]/)) {
    target = substr($0, RSTART + 1, RLENGTH - 2)
    if (target != name) calls[name] = calls[name] " " target
  } else if ($0 ~ /\*/ && $0 !~ /ljmp|lcall/) {
    indirect[name] = $0
  }
}
END {
  if (function_count < 20) { print "reach: no disassembly"; exit 1 }
  for (name in at) {
    n = split(calls[name], targets, " ")
    for (i = 1; i <= n; i++)
      if (at[targets[i]] == ".boot" && at[name] != ".boot") { print "reach: " name " calls " targets[i] ", which is boot code"; failed = 1 }
  }
  # All code reachable from boot code.
  for (name in at) if (at[name] == ".boot") queue[++last] = name
  for (first = 1; first <= last; first++) {
    name = queue[first]
    if (name in indirect) { print "reach: boot code reaches an indirect call in " name ":" indirect[name]; failed = 1 }
    n = split(calls[name], targets, " ")
    for (i = 1; i <= n; i++) {
      target = targets[i]
      if (at[target] == ".high") { print "reach: boot code reaches " name ", which calls " target " in .high"; failed = 1 }
      if (!(target in seen)) { seen[target] = 1; queue[++last] = target }
    }
  }
  exit failed
}
