#!/bin/busybox sh
# Init of the graphics guest. It announces on the serial port what the screen shows, and waits until the test sends a line.
export PATH=/bin:/usr/bin HOME=/ DISPLAY=:0
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /var/log /var/lib/xkb /run
exec >/dev/ttyS0 2>&1
section() { echo "==== $*"; }
show() { section "screen: $*"; read -r _ </dev/ttyS0; }
# Coloured text on the console.
colours() { printf '\033[2J\033[H\033[31mred on a console \033[32mgreen \033[37mwhite\r\n' >/dev/tty0; }
module() { while read -r name; do insmod "/modules/$name"; done <"/modules/$1.order"; }

# The kernel's driver of the adapter.
drm=bochs
depth=24
[ "$(cat /sys/bus/pci/devices/0000:00:02.0/vendor)" != 0x1013 ] || drm=cirrus

module input
sleep 2

# Prints the event device of a handler: "kbd" for the keyboard, "mouse" for the mouse. USB's is the last one.
event() { grep "^H:.*$1" /proc/bus/input/devices | sed -n 's/.*\(event[0-9]*\).*/\1/p' | tail -n 1; }
configure() { # driver, options
  cat >/etc/xorg.conf <<CONFIG
Section "ServerFlags"
  Option "AutoAddDevices" "false"
  Option "DontVTSwitch" "true"
EndSection
Section "InputDevice"
  Identifier "keyboard"
  Driver "evdev"
  Option "Device" "/dev/input/$(event kbd)"
EndSection
Section "InputDevice"
  Identifier "mouse"
  Driver "evdev"
  Option "Device" "/dev/input/$(event mouse)"
EndSection
Section "Device"
  Identifier "card"
  Driver "$1"
  $2
EndSection
Section "Screen"
  Identifier "screen"
  Device "card"
  DefaultDepth $depth
  SubSection "Display"
    Depth $depth
    Modes "1024x768"
  EndSubSection
EndSection
Section "ServerLayout"
  Identifier "layout"
  Screen "screen"
  InputDevice "keyboard" "CoreKeyboard"
  InputDevice "mouse" "CorePointer"
EndSection
CONFIG
}
server() { # name
  Xorg :0 vt1 -config /etc/xorg.conf -noreset -nolisten tcp -logfile "/var/log/$1.log" >/dev/null 2>&1 &
  xorg=$!
  tries=0
  while ! xdpyinfo >/tmp/info 2>&1 && [ $tries -lt 60 ] && kill -0 $xorg; do sleep 1; tries=$((tries + 1)); done
  grep -E 'dimensions|depth of root' /tmp/info || { section "$1 failed"; cat "/var/log/$1.log"; }
  grep -E '\(EE\)|VESA|VBE|modeset|CIRRUS' "/var/log/$1.log" | head -n 120
  xsetroot -solid '#204080'
  xeyes -geometry 400x300+100+100 &
  sleep 3
}

usb() {
  module usb
  sleep 4
  for device in /sys/bus/usb/devices/*; do
    section "usb $(basename "$device")"
    for file in idVendor idProduct bcdDevice manufacturer product speed version bMaxPower bConfigurationValue bInterfaceClass \
      bInterfaceSubClass bInterfaceProtocol bNumEndpoints maxchild; do
      [ ! -f "$device/$file" ] || echo "$file $(cat "$device/$file")"
    done
    echo "driver $(basename "$(readlink "$device/driver")")"
  done
  cat /sys/bus/pci/devices/0000:00:01.2/irq /proc/interrupts
  section "input devices"
  cat /proc/bus/input/devices
  event=$(event kbd)
  evtest "/dev/input/$event" >/tmp/keys &
  evtest "/dev/input/$(event mouse)" &
  # The PS/2 keyboard and mouse come first.
  for n in 0 1 2 3; do
    case " $event $(event mouse) " in
      *" event$n "*) ;;
      *) evtest "/dev/input/event$n" | sed -n "s/^Event/PS2 event$n/p" & ;;
    esac
  done
  module bochs
  configure modesetting 'Option "AccelMethod" "none"'
  server modesetting
  xsetroot -cursor_name left_ptr
  section "screen: X.Org with a tablet"
  before=
  while ! grep -q 'KEY_F12.*value 1' /tmp/keys; do
    now=$(xdotool getmouselocation 2>/dev/null | sed 's/ screen.*//')
    [ "$now" = "$before" ] || echo "pointer $now"
    before=$now
    sleep 0.2
  done
  grep Event /tmp/keys
}

if grep -qw usb /proc/cmdline; then
  usb
elif grep -q vga= /proc/cmdline; then
  section "framebuffer $(cat /proc/fb)"
  cat /sys/class/graphics/fb0/virtual_size /sys/class/graphics/fb0/bits_per_pixel
  colours
  show "framebuffer console"
else
  section "BIOS' EDID"
  get-edid -c >/tmp/edid 2>/tmp/errors || cat /tmp/errors
  parse-edid </tmp/edid
  configure vesa
  server vesa
  show "X.Org by vesa"
  kill $xorg; wait $xorg
  colours
  show "text again"
  if [ $drm = cirrus ]; then
    # Without the kernel's driver, X.Org's has the registers and the blitter.
    depth=16
    configure cirrus
    server cirrus
    depth=24
    show "X.Org by cirrus"
    kill $xorg; wait $xorg
    colours
    show "text after cirrus"
  fi
  module $drm
  section "framebuffer $(cat /proc/fb)"
  cat /sys/class/drm/card0-*/modes | head -n 3
  colours
  show "DRM console"
  configure modesetting 'Option "AccelMethod" "none"'
  server modesetting
  show "X.Org by modesetting"
  kill $xorg; wait $xorg
fi
section dmesg
dmesg -r
section end
poweroff -f
