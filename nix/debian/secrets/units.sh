# The units of a machine with secrets: those of every machine, and what NixOS's module makes (`opens`, `ofWeb`).
set -eu

cp -a "$units" "$out"
chmod -R u+w "$out"
for unit in network-online.target systemd-networkd-wait-online.service; do
    ln -s "$systemd/lib/systemd/system/$unit" "$out/$unit"
done
printf %s "$opens" >"$out/fleetswap-secrets.service"
mkdir "$out/web.service.d" "$out/network-online.target.wants"
printf %s "$ofWeb" >"$out/web.service.d/secrets.conf"
for unit in web.service.d/answer.conf name-servers.service find-secrets.service; do
    sed -e "s,@tools@,$openTools,g" "$own/$unit" >"$out/$unit"
done
ln -s ../fleetswap-secrets.service ../find-secrets.service "$out/multi-user.target.wants"
for unit in systemd-networkd-wait-online.service name-servers.service; do
    ln -s "../$unit" "$out/network-online.target.wants"
done
find "$out" -xtype l | { ! grep .; } || { echo "the units above do not exist" >&2; exit 1; }
