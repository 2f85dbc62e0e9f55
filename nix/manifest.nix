# Names, versions and licences of what the given packages are linked with, read without building anything. It follows
# the build inputs, which is more than the machine has; the exact list is made with the image (closure.json).
{ lib, roots }:
let
  isPackage = value: lib.isDerivation value && value ? name;
  item = package: {
    key = package.outPath or package.name;
    inherit package;
  };
  inputs =
    package: lib.filter isPackage (lib.flatten ((package.buildInputs or [ ]) ++ (package.propagatedBuildInputs or [ ])));
  found = map (found: found.package) (
    builtins.genericClosure {
      startSet = map item (lib.filter isPackage roots);
      operator = found: map item (inputs found.package);
    }
  );

  nameOf = package: package.pname or (builtins.parseDrvName package.name).name;
  versionOf = package: package.version or (builtins.parseDrvName package.name).version;
  named = lib.filter (package: versionOf package != "") found;

  # SPDX's expression of a licence of nixpkgs; of what SPDX does not list, a name as SPDX wants it for such. A licence can
  # be an expression itself (nixpkgs' lib/licenses/operators.nix, NixOS 26.05 and later).
  expressionOf =
    licence:
    if lib.isString licence then
      "LicenseRef-${plain licence}"
    else if licence ? licenses then
      lib.concatStringsSep " ${licence.operator} " (map bracketed licence.licenses)
    else if licence ? exception then
      "${bracketed licence.license} WITH ${bracketed licence.exception}"
    else if licence ? license then
      "${bracketed licence.license}${licence.operator}"
    else
      licence.spdxId or "LicenseRef-${plain (licence.shortName or licence.fullName or "unknown")}";
  bracketed =
    licence: if licence ? licenses || licence ? exception then "(${expressionOf licence})" else expressionOf licence;
  plain = text: lib.concatStrings (map (char: if char == [ ] then "-" else char) (splitPlain text));
  splitPlain = text: map (part: if lib.isString part then part else [ ]) (builtins.split "[^a-zA-Z0-9.-]+" text);
  licenceOf =
    package:
    let
      licences = package.meta.license or [ ];
    in
    # nixpkgs' list means that each applies to some of it.
    if lib.isList licences then
      lib.concatStringsSep " AND " (lib.unique (map bracketed licences))
    else
      expressionOf licences;
in
{
  packages = lib.listToAttrs (map (package: lib.nameValuePair (nameOf package) (versionOf package)) named);
  licences = lib.filterAttrs (_: licence: licence != "") (
    lib.listToAttrs (map (package: lib.nameValuePair (nameOf package) (licenceOf package)) found)
  );
}
