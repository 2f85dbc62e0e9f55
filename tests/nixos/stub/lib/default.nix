# The part of nixpkgs' `lib` that our modules use, in our own words: a small option system, as strict as the real one
# about what does not exist, has another type, or is defined twice; and helpers. Only for tests.
let
  inherit (builtins)
    attrNames
    concatMap
    elem
    filter
    foldl'
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    tail
    typeOf
    ;

  helpers = {
    inherit (builtins)
      any
      attrNames
      attrValues
      concatMap
      concatStringsSep
      elem
      filter
      isList
      isString
      listToAttrs
      mapAttrs
      ;
    concatStrings = builtins.concatStringsSep "";
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: attrs: if condition then attrs else { };
    optionalString = condition: text: if condition then text else "";
    toList = value: if isList value then value else [ value ];
    nameValuePair = name: value: { inherit name value; };
    filterAttrs =
      keep: attrs:
      listToAttrs (
        concatMap (name: if keep name attrs.${name} then [ (pair name attrs.${name}) ] else [ ]) (attrNames attrs)
      );
    mapAttrsToList = f: attrs: map (name: f name attrs.${name}) (attrNames attrs);
    genAttrs = names: f: listToAttrs (map (name: pair name (f name)) names);
    unique = foldl' (seen: value: if elem value seen then seen else seen ++ [ value ]) [ ];
    flatten = value: if isList value then concatMap helpers.flatten value else [ value ];
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    hasInfix = part: text: length (builtins.split (escape part) text) > 1;
    getBin = package: package.bin or package;
    isDerivation = value: isAttrs value && value.type or null == "derivation";
    hasAttrByPath =
      path: attrs:
      path == [ ] || (isAttrs attrs && attrs ? ${head path} && helpers.hasAttrByPath (tail path) attrs.${head path});
    attrByPath =
      path: default: attrs:
      if helpers.hasAttrByPath path attrs then foldl' (set: name: set.${name}) attrs path else default;
    escapeShellArg = value: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString value)}'";
    escapeShellArgs = values: builtins.concatStringsSep " " (map helpers.escapeShellArg values);
    boolToString = value: if value then "true" else "false";
    literalExpression = text: {
      _type = "literalExpression";
      inherit text;
    };
    literalMD = text: {
      _type = "literalMD";
      inherit text;
    };
    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      what:
      helpers.mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkOverride = priority: content: {
      _type = "override";
      inherit priority content;
    };
    mkDefault = helpers.mkOverride 1000;
    mkForce = helpers.mkOverride 50;
    inherit evalModules types;
  };

  pair = name: value: { inherit name value; };
  escape = builtins.replaceStrings [ "." "+" "*" "[" "(" ] [ "\\." "\\+" "\\*" "\\[" "\\(" ];
  dotted = builtins.concatStringsSep ".";
  all = test: list: foldl' (yes: value: yes && test value) true list;

  # --- Definitions: { value; file; priority; } ---

  # What `mkIf`, `mkMerge` and `mkOverride` leave of a definition.
  discharge =
    definition:
    let
      inherit (definition) value;
      again = content: discharge (definition // { value = content; });
      kind = if isAttrs value then value._type or "" else "";
    in
    if kind == "merge" then
      concatMap again value.contents
    else if kind == "if" then
      (if value.condition then again value.content else [ ])
    else if kind == "override" then
      map (inner: inner // { inherit (value) priority; }) (again value.content)
    else
      [ definition ];

  strongest =
    definitions:
    let
      least = foldl' (low: one: if one.priority < low then one.priority else low) 10000 definitions;
    in
    filter (one: one.priority == least) definitions;

  shown = definitions: builtins.concatStringsSep "" (map (one: "\n- In `${one.file}'") definitions);

  evaluate =
    path: type: definitions:
    let
      left = strongest (concatMap discharge definitions);
      wrong = filter (one: !type.check one.value) left;
    in
    if wrong != [ ] then
      throw "A definition for option `${dotted path}' is not of type `${type.name}'. Definition values:${shown wrong}"
    else
      type.merge path left;

  # --- Types: { name; check; merge; } ---

  same =
    path: definitions:
    let
      first = (head definitions).value;
    in
    if length definitions == 1 || all (one: one.value == first) definitions then
      first
    else
      throw "The option `${dotted path}' has conflicting definition values:${shown definitions}";

  scalar = name: check: {
    inherit name check;
    merge = same;
  };

  types = rec {
    bool = scalar "boolean" isBool;
    int = scalar "signed integer" isInt;
    str = scalar "string" isString;
    ints.between =
      least: most:
      scalar "integer between ${toString least} and ${toString most} (both inclusive)" (
        value: isInt value && value >= least && value <= most
      );
    port = scalar "16 bit unsigned integer" (value: isInt value && value >= 0 && value <= 65535);
    path = scalar "absolute path" (
      value: typeOf value == "path" || helpers.isDerivation value || (isString value && builtins.substring 0 1 value == "/")
    );
    package = scalar "package" helpers.isDerivation;
    anything = scalar "anything" (_: true);
    unspecified = scalar "unspecified value" (_: true);
    lines = {
      name = "strings concatenated with \"\\n\"";
      check = isString;
      merge = _: definitions: builtins.concatStringsSep "\n" (map (one: one.value) definitions);
    };
    enum = values: scalar "one of ${builtins.toJSON values}" (value: elem value values);
    strMatching =
      pattern:
      scalar "string matching the pattern ${pattern}" (value: isString value && builtins.match pattern value != null);
    nullOr = inner: {
      name = "null or ${inner.name}";
      check = value: value == null || inner.check value;
      merge = path: definitions: if all (one: one.value == null) definitions then null else inner.merge path definitions;
    };
    oneOf = kinds: {
      name = builtins.concatStringsSep " or " (map (kind: kind.name) kinds);
      check = value: helpers.any (kind: kind.check value) kinds;
      merge =
        path: definitions: (head (filter (kind: all (one: kind.check one.value) definitions) kinds)).merge path definitions;
    };
    listOf = inner: {
      name = "list of ${inner.name}";
      check = isList;
      merge =
        path: definitions:
        concatMap (
          one:
          map (
            value:
            evaluate path inner [
              (
                one
                // {
                  inherit value;
                  priority = 100;
                }
              )
            ]
          ) one.value
        ) definitions;
    };
    attrsOf = inner: {
      name = "attribute set of ${inner.name}";
      check = isAttrs;
      merge =
        path: definitions:
        let
          names = helpers.unique (concatMap (one: attrNames one.value) definitions);
          of =
            name:
            concatMap (
              one:
              if one.value ? ${name} then
                [
                  (
                    one
                    // {
                      value = one.value.${name};
                      priority = 100;
                    }
                  )
                ]
              else
                [ ]
            ) definitions;
          present = filter (name: concatMap discharge (of name) != [ ]) names;
        in
        helpers.genAttrs present (name: evaluate (path ++ [ name ]) inner (of name));
    };
    submodule = module: {
      name = "submodule";
      check = value: isAttrs value || isFunction value;
      merge =
        path: definitions:
        (evalModules {
          modules = [
            module
          ]
          ++ map (one: {
            _file = one.file;
            config = one.value;
          }) definitions;
          prefix = path;
          specialArgs.name = builtins.elemAt path (length path - 1);
        }).config;
    };
  };

  # --- Modules ---

  isOption = value: isAttrs value && value._type or "" == "option";

  # All modules that `module` imports, with itself: { file; options; config; }.
  collect =
    args: file: module:
    let
      opened = if isAttrs module || isFunction module then module else import module;
      here = if isAttrs module || isFunction module then file else toString module;
      called = if isFunction opened then opened args else opened;
      at = called._file or here;
      short = !(called ? options || called ? config);
      body = removeAttrs called [
        "imports"
        "_file"
      ];
    in
    concatMap (collect args at) (called.imports or [ ])
    ++ [
      {
        file = at;
        options = if short then { } else called.options or { };
        config = if short then body else called.config or { };
      }
    ];

  mergeOptions =
    path: trees:
    let
      names = helpers.unique (concatMap attrNames trees);
      of = name: concatMap (tree: if tree ? ${name} then [ tree.${name} ] else [ ]) trees;
      merged =
        name:
        let
          found = of name;
        in
        if !helpers.any isOption found then
          mergeOptions (path ++ [ name ]) found
        else if length found == 1 then
          head found
        else
          throw "The option `${dotted (path ++ [ name ])}' is already declared";
    in
    helpers.genAttrs names merged;

  # A condition or an override of a set is one of each of its attributes: what they are does not depend on it.
  pushed =
    definition:
    let
      inherit (definition) value;
      kind = if isAttrs value then value._type or "" else "";
      into =
        wrap: content:
        map (one: one // { value = mapAttrs (_: wrap) one.value; }) (pushed (definition // { value = content; }));
    in
    if kind == "merge" then
      concatMap (content: pushed (definition // { value = content; })) value.contents
    else if kind == "if" then
      into (helpers.mkIf value.condition) value.content
    else if kind == "override" then
      into (helpers.mkOverride value.priority) value.content
    else
      [ definition ];

  # Every definition of an option that does not exist, as a message. It forces no condition and no value.
  unmatched =
    path: options: definitions:
    let
      flat = concatMap pushed definitions;
      at =
        name:
        let
          here = path ++ [ name ];
          of = concatMap (one: helpers.optional (one.value ? ${name}) (one // { value = one.value.${name}; })) flat;
        in
        if !(options ? ${name}) then
          [ "The option `${dotted here}' does not exist. Definition values:${shown of}" ]
        else
          helpers.optionals (!isOption options.${name}) (unmatched here options.${name} of);
    in
    concatMap at (helpers.unique (concatMap (one: attrNames one.value) flat));

  configOf =
    path: options: definitions:
    let
      flat = concatMap pushed definitions;
      of = name: concatMap (one: helpers.optional (one.value ? ${name}) (one // { value = one.value.${name}; })) flat;
      valueOf =
        name:
        let
          here = path ++ [ name ];
          option = options.${name};
          default = helpers.optional (option ? default) {
            value = option.default;
            file = "default";
            priority = 1500;
          };
          given = of name ++ default;
        in
        if !isOption option then
          configOf here option (of name)
        else if option.readOnly or false && of name != [ ] then
          throw "The option `${dotted here}' is read-only, but it's set multiple times."
        else if concatMap discharge given == [ ] then
          throw "The option `${dotted here}' was accessed but has no value defined. Try setting the option."
        else
          evaluate here option.type given;
    in
    helpers.genAttrs (attrNames options) valueOf;

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      args = specialArgs // {
        inherit config options;
        lib = helpers;
      };
      found = concatMap (collect args "<unknown-file>") modules;
      options = mergeOptions prefix (map (module: module.options) found);
      definitions = map (module: {
        inherit (module) file;
        value = module.config;
        priority = 100;
      }) found;
      wrong = unmatched prefix options definitions;
      config = if wrong != [ ] then throw (head wrong) else configOf prefix options definitions;
    in
    {
      inherit config options;
    };
in
helpers
