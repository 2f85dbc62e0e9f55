# What one evaluation says of an image: its derivation, and what that says of itself. Nothing is built for it.
#
# A function of what was selected: the value of an expression or a flake's output. `evaluate.py` reads the answer; it
# turns into words what is wrong. What is a derivation, nix says in `getDerivations` (libexpr/get-drvs.cc): the value
# itself, or those in a list or a set, at any depth where a set asks for it.
selected:

let
  inherit (builtins)
    attrNames
    concatMap
    elemAt
    genList
    isAttrs
    isList
    isString
    length
    mapAttrs
    match
    toString
    typeOf
    ;

  isDerivation = value: isAttrs value && (value.type or null) == "derivation";

  found =
    path: derivation:
    { inherit path derivation; };

  derivationsIn =
    path: value:
    if isDerivation value then
      [ (found path value) ]
    else if isList value then
      concatMap (at: derivationsIn (path ++ [ (toString at) ]) (elemAt value at)) (genList (at: at) (length value))
    else if isAttrs value then
      concatMap (
        name:
        let
          each = value.${name};
          at = path ++ [ name ];
        in
        if match "[A-Za-z_][A-Za-z0-9_+-]*" name == null then
          [ ]
        else if isDerivation each then
          [ (found at each) ]
        else if isAttrs each && (each.recurseForDerivations or false) == true then
          derivationsIn at each
        else
          [ ]
      ) (attrNames value)
    else
      [ ];

  derivations = derivationsIn [ ] selected;

  image = (elemAt derivations 0).derivation;

  # Of the derivation, or of the set that it is the only one of.
  attribute = name: image.${name} or (if isAttrs selected then selected.${name} or { } else { });

  # null where there is no text: it is refused, and not evaluated any deeper.
  texts =
    value: if isAttrs value then mapAttrs (_: text: if isString text then text else null) value else null;
in
{
  type = typeOf selected;
  derivations = map (each: each.path) derivations;
  nixos = isAttrs selected && selected ? config.system.build;
}
// (
  if length derivations != 1 then
    { }
  else
    {
      # Not `outPath`: nix writes a set that has one as that path.
      derivation = image.drvPath;
      output = image.outPath;
      outputs = image.outputs or [ "out" ];
      system = image.system or "";
      packages = texts (attribute "packages");
      licences = texts (attribute "licences");
      register = attribute "registerImage";
    }
)
