# The disk, by the builder of NixOS's own image. What is ours is the UKI, and where the tools come from.
# shellcheck disable=SC1091,SC2154 # made by nix: structured attributes are variables of bash
. ./.attrs.sh
export PATH=$PWD/bin:/usr/sbin:/usr/bin:/sbin:/bin

mkdir bin
# Debian 13's, with Debian 13's libraries.
printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' "$erofs/ld-linux-x86-64.so.2" "$erofs" "$erofs/mkfs.erofs" >bin/mkfs.erofs
chmod 755 bin/mkfs.erofs

python3 -c 'import json; json.dump(json.load(open(".attrs.json"))["closure"], open("closure.json", "w"))'
python3 "$layout/build-disk" --closure closure.json --toplevel "$toplevel" --uki "$uki/BOOTX64.EFI" \
    --name debian --label "$name" --store-size "$storeSize" --esp-size "$espSize" "${outputs[out]}"
