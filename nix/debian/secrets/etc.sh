# /etc as it is written for every machine, with what finds KMS: name servers, and certificates to believe it by.
set -eu

cp -r "$own" "$out"
chmod -R u+w "$out"
sed -i 's/^hosts: files$/hosts: files dns/' "$out/nsswitch.conf"
grep -q '^hosts: files dns$' "$out/nsswitch.conf"
ln -s /run/resolv.conf "$out/resolv.conf"
mkdir -p "$out/ssl/certs"
ln -s "$certificates" "$out/ssl/certs/ca-certificates.crt"
