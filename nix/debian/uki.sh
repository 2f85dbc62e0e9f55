# What the firmware starts: kernel, initrd and command line in one EFI executable, a unified kernel image
# (systemd-stub(7)).
set -eu

release=$(basename "$modules"/lib/modules/*)
mkdir root root/bin root/dev root/proc root/root root/sys
mkdir -p "root/lib/modules/$release"
cp "$busybox/bin/busybox" root/bin/busybox
cp "$init" root/init
cp "$modules/lib/modules/$release/modules.dep" "root/lib/modules/$release"
modprobe -d "$modules" -S "$release" --show-depends erofs | while read -r _ file _; do
    cp "$file" "root/lib/modules/$release"
done
chmod -R u=rwX,go=rX root
chmod 755 root/init root/bin/busybox
find root -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd root && find . | sort | cpio --quiet --create --format=newc --reproducible --owner=+0:+0) >initrd

# console: EC2's serial console, and QEMU's. panic=0: a machine that panics stays and shows why, as most AMIs do. The
# next four are work at start that this machine has no use for, as in ../demo.
printf '%s' "console=ttyS0 quiet panic=0 tsc=reliable noreplace-smp cryptomgr.notests" \
    " initcall_blacklist=init_kprobe_trace net.ifnames=0 init=$toplevel/init" >cmdline
printf 'ID=debian\nPRETTY_NAME="Debian, as Fleetswap lays it out"\n' >os-release

# A section must not touch the one before; so each starts at the next 64 KiB past it.
stub=$stub/usr/lib/systemd/boot/efi/linuxx64.efi.stub
end=$(objdump -h "$stub" | awk '$2 ~ /^\./ { print $3, $4 }' | {
    last=0
    while read -r size vma; do
        here=$((0x$size + 0x$vma))
        [ "$here" -le "$last" ] || last=$here
    done
    echo "$last"
})
set --
for section in cmdline:cmdline "linux:$kernel/bzImage" initrd:initrd osrel:os-release; do
    name=${section%%:*} file=${section#*:}
    address=$(((end + 0xffff) & ~0xffff))
    set -- "$@" --add-section ".$name=$file" --change-section-vma ".$name=$(printf '0x%x' "$address")"
    end=$((address + $(stat -c %s "$file")))
done
mkdir "$out"
# -p keeps the time in the header of the stub; without it objcopy writes the time of the build.
objcopy -p "$@" "$stub" "$out/BOOTX64.EFI"
