# Selects an image in a file as `nix-instantiate FILE --attr PATH --argstr NAME VALUE` does, and says what image.nix
# says of it. nix-instantiate itself can only print a derivation or a value, so both would cost a second evaluation.
#
# `request` is JSON: `file` (absolute), `path` (the parts of the attribute path), `args`. The rules are those of
# `findAlongAttrPath` and `autoCallFunction` (libexpr/attr-path.cc, eval.cc; the same in nix 2.3 to 2.26).
{ request }:

let
  inherit (builtins)
    attrNames
    elem
    elemAt
    filter
    foldl'
    fromJSON
    functionArgs
    intersectAttrs
    isAttrs
    isFunction
    isList
    length
    match
    replaceStrings
    toXML
    typeOf
    ;

  asked = fromJSON request;

  contains = part: text: replaceStrings [ part ] [ "" ] text != text;

  # A step on the way: the value, the arguments that some function took, and what stops the way.
  step = value: taken: {
    inherit value taken;
    stop = null;
  };

  stopped = at: stop: at // { inherit stop; };

  # Call a function that has formal arguments with those that were given, as often as it takes; leave all else alone.
  called =
    at:
    if at.stop != null then
      at
    else if isAttrs at.value && at.value ? __functor then
      called (step (at.value.__functor at.value) at.taken)
    else if !isFunction at.value then
      at
    else
      let
        # Only this tells `{ a }:` from `{ a, ... }:`, and `{ }:` from `a:`, which nix does not call.
        shape = toXML at.value;
        formals = functionArgs at.value;
        open = contains ''<attrspat ellipsis="1"'' shape;
        given = if open then asked.args else intersectAttrs formals asked.args;
        unset = filter (name: !formals.${name} && !(asked.args ? ${name})) (attrNames formals);
      in
      if !(contains "<attrspat" shape) then
        at
      else if unset != [ ] then
        stopped at {
          kind = "unset";
          names = unset;
          formals = attrNames formals;
        }
      else
        # Its result may be a function again: nix calls that one too only at the next part of the path.
        step (at.value given) (at.taken ++ attrNames given);

  into =
    at: name:
    let
      here = called at;
      inherit (here) value;
    in
    if here.stop != null then
      here
    else if match "0|[1-9][0-9]*" name != null then
      if !isList value then
        stopped here {
          kind = "no list";
          inherit name;
          type = typeOf value;
        }
      else if fromJSON name >= length value then
        stopped here {
          kind = "no element";
          inherit name;
          length = length value;
        }
      else
        step (elemAt value (fromJSON name)) here.taken
    else if !isAttrs value then
      stopped here {
        kind = "no set";
        inherit name;
        type = typeOf value;
      }
    else if !(value ? ${name}) then
      stopped here {
        kind = "no attribute";
        inherit name;
        there = attrNames value;
      }
    else
      step value.${name} here.taken;

  end = called (foldl' into (step (import (/. + asked.file)) [ ]) asked.path);
in
if end.stop != null then
  { inherit (end) stop; }
else
  {
    untaken = filter (name: !(elem name end.taken)) (attrNames asked.args);
    image = import ./image.nix end.value;
  }
