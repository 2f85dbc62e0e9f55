# The programs that open secrets, answer a hash of one, and look where it is: busybox, by each name that ../../secrets/open-secrets and
# ../../demo/keyed-hash call. A name that busybox lacks fails here, not on the machine.
set -eu

mkdir "$out" "$out/bin"
for applet in cat chmod chown cut dmesg env find grep mkdir mv od rm sed sh sha256sum sleep sort stat timeout tr; do
    "$busybox/bin/busybox" --list | grep -qx "$applet" || { echo "busybox has no $applet" >&2; exit 1; }
    ln -s "$busybox/bin/busybox" "$out/bin/$applet"
done
cp "$keyedHash" "$out/bin/keyed-hash"
for program in answer find-secrets; do
    sed -e "s,@out@,$out,g" "$own/$program" >"$out/bin/$program"
done
chmod 755 "$out/bin/keyed-hash" "$out/bin/answer" "$out/bin/find-secrets"
