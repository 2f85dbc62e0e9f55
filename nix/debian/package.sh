# One package of Debian's as a store path: bin/, lib/, and no other folder; programs and libraries find the libraries of
# the packages that they need in their store paths, as patchelf writes them.
set -eu

mkdir "$out" "$out/bin" "$out/lib"
for folder in "$files"/bin "$files"/sbin "$files"/usr/bin "$files"/usr/sbin; do
    [ ! -d "$folder" ] || cp -a "$folder/." "$out/bin"
done
# Debian has the libraries of an architecture in a folder of its own. libc's has more than libraries, which nothing here
# needs: conversions of characters, and the languages of messages.
for folder in "$files"/lib/*-linux-gnu "$files"/usr/lib/*-linux-gnu; do
    for library in "$folder"/*.so* "$folder"/systemd/*.so*; do
        [ ! -e "$library" ] || cp -a "$library" "$out/lib"
    done
done
for folder in systemd udev; do
    [ ! -d "$files/lib/$folder" ] || cp -a "$files/lib/$folder" "$out/lib"
done
rm -f "$out"/lib/udev/hwdb.d/* # 9 MB about mice and keyboards
chmod -R u+w "$out"

# A link to another place in the same package, and the paths of programs in units.
find "$out" -type l | while read -r link; do
    case $(readlink "$link") in
    /bin/* | /usr/bin/*) ln -sfn "$out/bin/$(basename "$(readlink "$link")")" "$link" ;;
    esac
done
for folder in "$out/lib/systemd" "$out/lib/udev"; do
    [ ! -d "$folder" ] || grep -rlI -e bin/ -e lib/systemd/ -e ^Exec "$folder" | xargs -r sed -i -E \
        -e "s,(^|[^A-Za-z0-9.])(/usr)?/(bin|sbin)/,\1$out/bin/,g" -e "s,(^|[^A-Za-z0-9.])(/usr)?/lib/systemd/systemd,\1$out/lib/systemd/systemd,g" \
        -e "s,^(Exec[A-Za-z]*=[-@:+!]*)(udevadm|networkctl|systemctl) ,\1$out/bin/\2 ,"
done

libraries=$out/lib libc=
for need in $needs; do
    libraries=$libraries:$need/lib
    case $need in *-libc6-*) libc=$need ;; esac
done
[ -n "$libc" ] || exit 0 # libc itself, and what needs none
find "$out" -type f -size +1k | while read -r file; do
    [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
    if "$patchelf/usr/bin/patchelf" --print-interpreter "$file" >/dev/null 2>&1; then
        "$patchelf/usr/bin/patchelf" --set-interpreter "$libc/lib/ld-linux-x86-64.so.2" "$file"
    fi
    # Of the folders, those that have what the file names; without this, every package would refer to all that it needs.
    "$patchelf/usr/bin/patchelf" --force-rpath --set-rpath "$libraries" "$file"
    "$patchelf/usr/bin/patchelf" --shrink-rpath "$file"
done
