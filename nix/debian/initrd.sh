# The initrd: busybox, the modules that the store's file system needs, and one program.
set -eu

release=$(basename "$modules"/lib/modules/*)
mkdir -p root/bin root/dev root/proc root/root root/sys "root/lib/modules/$release"
cp "$busybox/bin/busybox" root/bin/busybox
cp "$program" root/init
cp "$modules/lib/modules/$release/modules.dep" "root/lib/modules/$release"
modprobe -d "$modules" -S "$release" --show-depends erofs | while read -r _ file _; do
    cp "$file" "root/lib/modules/$release"
done
chmod -R u=rwX,go=rX root
chmod 755 root/init root/bin/busybox
find root -exec touch -h -d @1 {} +
(cd root && find . | sort | cpio --quiet --create --format=newc --reproducible --owner=+0:+0) >"$out"
