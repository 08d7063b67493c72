# Reads `objdump -d` of the BIOS, and fails if code calls or jumps to what it cannot reach (bios/link.ld): code for the
# way to a boot sector runs in a segment that ends at F000:9FFF, all other code in one that starts at F000:0000. So
# nothing outside .boot may go there, and nothing that .boot leads to may lie in .high or call by a pointer, which is
# an offset in segment F000h.
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
      if (at[targets[i]] == ".boot" && at[name] != ".boot") { print "reach: " name " goes to " targets[i] ", which is boot code"; failed = 1 }
  }
  # Everything that boot code leads to.
  for (name in at) if (at[name] == ".boot") queue[++last] = name
  for (first = 1; first <= last; first++) {
    name = queue[first]
    if (name in indirect) { print "reach: boot code leads to a call by a pointer in " name ":" indirect[name]; failed = 1 }
    n = split(calls[name], targets, " ")
    for (i = 1; i <= n; i++) {
      target = targets[i]
      if (at[target] == ".high") { print "reach: boot code leads by " name " to " target ", which is out of its reach"; failed = 1 }
      if (!(target in seen)) { seen[target] = 1; queue[++last] = target }
    }
  }
  exit failed
}
