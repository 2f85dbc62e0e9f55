# The whole system: whoever has this store path and its references has the machine.
set -eu

mkdir "$out"
ln -s "$kernel/bzImage" "$out/kernel"
ln -s "$modules" "$out/kernel-modules"
ln -s "$systemd" "$out/systemd"
ln -s "$etc" "$out/etc"
ln -s "$kmod/bin" "$out/modprobe"
sed -e "s,@busybox@,$busybox,g" -e "s,@systemd@,$systemd,g" -e "s,@out@,$out,g" "$init" >"$out/init"
chmod 755 "$out/init"
