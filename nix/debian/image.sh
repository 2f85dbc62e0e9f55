# The disk, by the builder of NixOS's own image. What is ours is the initrd, and where the tools come from.
# shellcheck disable=SC1091,SC2154 # made by nix: structured attributes are variables of bash
. ./.attrs.sh
export PATH=$PWD/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Debian 13's programs: one with Debian 13's libraries, the other with its Python modules. Nothing may be written there.
mkdir bin
cat >bin/mkfs.erofs <<END
#!/bin/sh
exec $tools/ld-linux-x86-64.so.2 --library-path $tools $tools/mkfs.erofs "\$@"
END
cat >bin/ukify <<END
#!/bin/sh
PYTHONPATH=$tools exec python3 -B $tools/ukify "\$@"
END
chmod 755 bin/mkfs.erofs bin/ukify

cat >uki.conf <<END
[UKI]
Linux=$kernel
Initrd=$initrd
Cmdline=$cmdline
OSRelease=@$osRelease
Stub=$tools/linuxx64.efi.stub
END
python3 -c 'import json; json.dump(json.load(open(".attrs.json"))["closure"], open("closure.json", "w"))'
python3 "$layout/build-disk" --closure closure.json --toplevel "$toplevel" --uki-config uki.conf \
    --name debian --label "$name" --store-size "$storeSize" --esp-size "$espSize" "${outputs[out]}"
