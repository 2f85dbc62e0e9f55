# The application: its program, and what differs from one version to another.
set -eu
mkdir "$out" "$out/bin" "$out/share"
sed -e "s,@busybox@,$busybox,g" -e "s,@out@,$out,g" "$program" >"$out/bin/web"
chmod 755 "$out/bin/web"
printf '%s\n' "$version" >"$out/share/version"
