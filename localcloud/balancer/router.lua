-- Routes requests inside HAProxy as the rules of an ELBv2 listener say: first match wins, weights are drawn per request.
-- Each request comes to one of the load balancer's nodes, which need not follow the same rules yet.
-- Decides nothing of its own: the tables are written by routes.py, and read again on the command `fleetswap routes`.
-- A table that cannot be read changes nothing.

local FILE = "routes.lua" -- in HAProxy's working directory
local nodes = {}

math.randomseed(os.time())

local function load_rules()
  local chunk, problem = loadfile(FILE, "t", {})
  if not chunk then return problem end
  local ok, loaded = pcall(chunk)
  if not ok then return loaded end
  nodes = loaded
end

local function any(patterns, value)
  for _, pattern in ipairs(patterns) do
    if value:find(pattern) then return true end
  end
  return false
end

local function decode(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function any_pair(pairs_wanted, query)
  for part in query:gmatch("[^&]+") do
    local key, value = part:match("^([^=]*)=(.*)$")
    key, value = decode(key or part):lower(), decode(value or ""):lower()
    for _, wanted in ipairs(pairs_wanted) do
      if key:find(wanted.key) and value:find(wanted.value) then return true end
    end
  end
  return false
end

local function holds(condition, request)
  if condition.field == "header" then
    for _, value in pairs(request.headers[condition.name] or {}) do
      if any(condition.patterns, value:lower()) then return true end
    end
    return false
  elseif condition.field == "host" then
    local host = (request.headers["host"] or {})[0] or ""
    return any(condition.patterns, (host:lower():gsub(":%d+$", "")))
  elseif condition.field == "query" then
    return any_pair(condition.pairs, request.query)
  end
  return any(condition.patterns, request[condition.field])
end

local function draw(forward)
  local total = 0
  for _, group in ipairs(forward) do total = total + group.weight end
  if total == 0 then return nil end
  local left = math.random(total)
  for _, group in ipairs(forward) do
    left = left - group.weight
    if left <= 0 then return group.backend end
  end
end

local function first_match(request)
  for _, rule in ipairs(#nodes > 0 and nodes[math.random(#nodes)] or {}) do
    local all = true
    for _, condition in ipairs(rule.conditions) do
      if not holds(condition, request) then all = false break end
    end
    if all then return rule.action end
  end
end

local function route(txn)
  local action = first_match({
    headers = txn.http:req_get_headers(),
    path = txn.f:path() or "/",
    query = txn.f:query() or "",
    method = txn.f:method() or "GET",
  })
  if action and action.forward then
    txn:set_var("txn.backend", draw(action.forward) or "none")
  elseif action then
    local reply = txn:reply({ status = action.status, body = action.body })
    reply:add_header("server", "awselb/2.0")
    reply:add_header("content-type", action.type)
    reply:add_header("content-length", #action.body)
    txn:done(reply)
  else
    txn:set_var("txn.backend", "none")
  end
end

core.register_action("route", { "http-req" }, route, 0)
core.register_init(function()
  local problem = load_rules()
  if problem then core.Alert("routes: " .. problem) end
end)
core.register_cli({ "fleetswap", "routes" }, "fleetswap routes: read the routing table again", function(applet)
  applet:send((load_rules() or "loaded") .. "\n")
end)
