# The modules of the kernel, in the folder where modprobe looks for them.
set -eu
mkdir "$out"
cp -r "$files/lib" "$out/lib"
