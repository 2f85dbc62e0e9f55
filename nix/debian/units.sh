# The units of the machine: those of systemd's that it needs, and its own. What is not here does not exist on it, so
# nothing has to be switched off.
set -eu

mkdir "$out"
for unit in basic.target sysinit.target sockets.target timers.target paths.target slices.target local-fs.target \
    local-fs-pre.target swap.target network-pre.target network.target multi-user.target shutdown.target umount.target \
    final.target poweroff.target reboot.target systemd-poweroff.service systemd-reboot.service \
    systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket \
    systemd-networkd.service systemd-networkd.socket; do
    ln -s "$systemd/lib/systemd/system/$unit" "$out/$unit"
done
for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service; do
    ln -s "$udev/lib/systemd/system/$unit" "$out/$unit"
done
(cd "$own" && find . -type f) | while read -r unit; do
    mkdir -p "$out/$(dirname "$unit")"
    sed -e "s,@report@,$report,g" -e "s,@web@,$web,g" -e "s,@udev@,$udev,g" "$own/$unit" >"$out/$unit"
done

ln -s multi-user.target "$out/default.target"
wants() { # target, units
    mkdir "$out/$1.wants"
    for unit in $2; do
        ln -s "../$unit" "$out/$1.wants/$unit"
    done
}
wants sysinit.target "systemd-journald.service systemd-udevd.service systemd-udev-trigger.service"
wants sockets.target "systemd-journald.socket systemd-journald-dev-log.socket systemd-udevd-control.socket
    systemd-udevd-kernel.socket"
wants multi-user.target "systemd-networkd.service web.service boot-report.service"
find "$out" -xtype l | { ! grep .; } || { echo "the units above do not exist" >&2; exit 1; }
