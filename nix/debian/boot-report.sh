# The program that tells what the machine waited for at boot.
set -eu
mkdir "$out" "$out/bin"
sed -e "s,@systemd@,$systemd,g" -e "s,@busybox@,$busybox,g" "$program" >"$out/bin/boot-report"
chmod 755 "$out/bin/boot-report"
