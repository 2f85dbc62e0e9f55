# The builder of the demo image: parts and scripts in, $out/disk.raw and $out/packages out. With $sealed, a sealed file, the
# machine opens its secrets (open); without, it is as if nothing here knew of them.
#
# The same inputs give the same bytes: fixed identifiers, fixed times, files in a fixed order, nothing compressed by a
# tool whose version could tell. Nothing here needs root or a loop device. The order of things on the disk is chosen so
# that another version differs in as few blocks as can be: what changes least comes first.
set -eu

case $architecture in
x86_64) prefix='' stub=linuxx64.efi.stub name=BOOTX64.EFI ;;
arm64) prefix=aarch64-linux-gnu- stub=linuxaa64.efi.stub name=BOOTAA64.EFI ;;
esac

mkdir root root/bin root/dev root/etc root/proc root/sys
cp "$parts/busybox" root/bin/busybox
cp -r "$parts/lib" root/lib
cp "$init" root/init
cp "$dhcp" root/etc/dhcp
cp "$bad" root/etc/bad
applets="cat cut grep httpd ip mkdir modprobe mount nc printf sed sh sleep timeout tr udhcpc"
if [ -n "${sealed:-}" ]; then
    applets="$applets chmod chown env insmod mv od rm sha256sum stat"
    [ -z "${keyService:-}" ] || cp "$keyService" root/bin/fleetswap-key-service
    cp "$open" root/etc/open
    cp "$keyedHash" root/etc/keyed-hash
    cp "$openSecrets" root/etc/open-secrets
    mkdir root/etc/modules
    cp "$trusted"/modules "$trusted"/*.ko root/etc/modules
    sed 's|^mkdir /www$|. /etc/open\n&\necho "$id $hash" >/www/secret|' "$init" >root/init
    grep -qx '. /etc/open' root/init || { echo "init has no line \`mkdir /www\` any more" >&2; exit 1; }
fi
# Each name that the scripts call, and no other: an applet that is missing fails in the build, not on the machine.
for applet in $applets; do
    # Among the names in the program itself, which may be for another processor than this computer's.
    tr '\0' '\n' <"$parts/busybox" | grep -aqx "$applet" || { echo "busybox has no $applet" >&2; exit 1; }
    ln -s busybox "root/bin/$applet"
done
printf '%s\n' "$version" >root/version
chmod -R u=rwX,go=rX root
chmod 755 root/init root/etc/dhcp root/etc/bad root/bin/busybox
[ -z "${sealed:-}" ] || chmod 755 root/etc/open-secrets
[ -z "${keyService:-}" ] || chmod 755 root/bin/fleetswap-key-service

# An initrd in the order of these two lists, the version last. Uncompressed: it is small beside the kernel, and
# unpacking costs an emulated machine more than reading.
find root -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(
    cd root
    { find . ! -path ./version | sort; echo ./version; } |
        cpio --quiet --create --format=newc --reproducible --owner=+0:+0
) >initrd

mib=1048576
opener=0
if [ -n "${sealed:-}" ]; then
    # A partition for what opens secrets: sops has 48 MiB, which in the initrd would be memory. In steps of 8 MiB, so
    # that a sealed file that grows does not move its end.
    opener=$((($(cat "$sops" "$trusted/ca-certificates.crt" "$sealed" | wc -c) + 9 * mib - 1) / mib / 8 * 8))
    # FAT here too: mtools needs no root, always writes the same bytes, and puts one file behind the other. The sealed
    # file is the last, so that another one moves its own blocks and the first, which has the table of the files.
    truncate -s "${opener}M" opener
    mformat -i opener -T "$((opener * 2048))" -h 16 -s 63 -c 4 -N F1EE75AA -v OPENER ::
    mcopy -i opener "$sops" ::/sops
    mcopy -i opener "$trusted/ca-certificates.crt" ::/trusted.pem
    mcopy -i opener "$sealed" ::/sealed.yaml
fi

# console: EC2's serial console, and QEMU's. panic=0: a machine that panics stays and shows why, as most AMIs do.
# no_timer_check: Linux has it on KVM; emulated on a busy computer, the check fails and the kernel panics. The
# rest is work at start that this machine has no use for, and that takes an emulated one 0.5 s of 2.8.
if [ "$architecture" = x86_64 ]; then
    printf '%s' "console=ttyS0 quiet panic=0 tsc=reliable no_timer_check noreplace-smp cryptomgr.notests" \
        " initcall_blacklist=init_kprobe_trace" >cmdline
else
    # QEMU's first serial port for arm64 is a PL011 (ttyAMA0), EC2's a 16550. The last one that is there is /dev/console.
    printf '%s' "console=ttyS0 console=ttyAMA0 quiet panic=0 cryptomgr.notests" >cmdline
fi
[ -z "${keyService:-}" ] || printf ' roothash=%s' "$(sha256sum <opener | cut -d ' ' -f 1)" >>cmdline
printf 'ID=fleetswap-demo\nPRETTY_NAME="Fleetswap demo %s"\nVERSION_ID=%s\n' "$version" "$version" >os-release

# One EFI executable out of stub, command line, kernel and initrd: a unified kernel image (systemd-stub(7)). A section
# must not touch the one before; so each starts at the next 64 KiB past it.
end=$("${prefix}objdump" -h "$parts/$stub" | awk '$2 ~ /^\./ { print $3, $4 }' | {
    last=0
    while read -r size vma; do
        here=$((0x$size + 0x$vma))
        [ "$here" -le "$last" ] || last=$here
    done
    echo "$last"
})
set --
for section in cmdline:cmdline linux:$parts/vmlinuz initrd:initrd osrel:os-release; do
    title=${section%%:*} file=${section#*:}
    address=$(((end + 0xffff) & ~0xffff))
    set -- "$@" --add-section ".$title=$file" --change-section-vma ".$title=$(printf '0x%x' "$address")"
    end=$((address + $(stat -c %s "$file")))
done
# -p keeps the time in the header of the stub; without it objcopy writes the time of the build.
"${prefix}objcopy" -p "$@" "$parts/$stub" "$name"

# A disk with the EFI system partition, and one MiB at each end for the partition tables.
esp=$((($(stat -c %s "$name") + 2 * mib - 1) / mib))
set --
if [ -n "${sealed:-}" ]; then
    set -- --new="2:$(((esp + 1) * 2048)):+${opener}M" --typecode=2:8300 --change-name=2:OPENER \
        --partition-guid=2:F1EE75A9-0000-4000-8000-000000000003
fi
mkdir "$out"
truncate -s "$((esp + opener + 2))M" "$out/disk.raw"
sgdisk --set-alignment=2048 --disk-guid=F1EE75A9-0000-4000-8000-000000000001 \
    --new="1:2048:+${esp}M" --typecode=1:EF00 --change-name=1:ESP \
    --partition-guid=1:F1EE75A9-0000-4000-8000-000000000002 "$@" "$out/disk.raw" >sgdisk.log || { cat sgdisk.log >&2; exit 1; }
# FAT16, in clusters of 4 sectors: the smallest that firmware reads without a detour, at this size.
volume="$out/disk.raw@@1M"
mformat -i "$volume" -T "$((esp * 2048))" -h 16 -s 63 -c 4 -N F1EE75A9 -v ESP ::
mmd -i "$volume" ::/EFI ::/EFI/BOOT
mcopy -i "$volume" "$name" "::/EFI/BOOT/$name"
if [ -n "${sealed:-}" ]; then
    dd if=opener of="$out/disk.raw" bs=1M seek="$((esp + 1))" conv=notrunc status=none
fi

printf '%s' "$manifest" >"$out/packages"
