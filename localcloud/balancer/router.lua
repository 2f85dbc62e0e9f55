-- Routes requests inside HAProxy as the rules of an ELBv2 listener say: first match wins, weights are drawn per request.
-- Each request comes to one of the load balancer's nodes, which need not follow the same rules yet.
-- Decides nothing of its own: the tables are written by routes.py, and read again on the command `fleetswap routes`.
-- A table that cannot be read changes nothing.

local FILE = "routes.lua" -- in HAProxy's working directory
local nodes = nil -- until the first table is there
local WAIT_SECONDS, PAUSE_MILLISECONDS = 10, 20 -- for the first table

local REASONS = { [464] = "Incompatible protocol versions" } -- HAProxy has no words for an ALB's own status

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
    return any(condition.patterns, request.host:lower())
  elseif condition.field == "query" then
    return any_pair(condition.pairs, request.query)
  elseif condition.field == "source" then
    for _, span in ipairs(condition.spans) do
      if span.first <= request.source and request.source <= span.last then return true end
    end
    return false
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
    if left <= 0 then return group end
  end
end

local function first_match(request)
  for _, rule in ipairs(nodes and #nodes > 0 and nodes[math.random(#nodes)] or {}) do
    local all = true
    for _, condition in ipairs(rule.conditions) do
      if not holds(condition, request) then all = false break end
    end
    if all then return rule.action end
  end
end

-- Which version of HTTP may be asked of targets of which (user guide, "Target groups", "Protocol version").
local function compatible(version, request)
  if version == "HTTP1" then return not request.grpc end
  if request.version < 2 then return false end
  return version == "HTTP2" or request.method == "POST"
end

local function number(address)
  local sum = 0
  for part in (address or ""):gmatch("%d+") do sum = sum * 256 + tonumber(part) end
  return sum
end

-- `#{host}`, `#{path}` and the like stand for what was asked for; the path without its first slash.
local function location(to, request)
  local asked = {
    protocol = request.secure and "HTTPS" or "HTTP",
    port = tostring(request.port),
    host = request.host,
    path = request.path:gsub("^/", ""),
    query = request.query,
  }
  local function filled(text)
    return (text:gsub("#{(%l+)}", asked))
  end
  local query = filled(to.query)
  return filled(to.protocol):lower() .. "://" .. filled(to.host) .. ":" .. filled(to.port) .. filled(to.path)
    .. (query ~= "" and "?" .. query or "")
end

local function answer(txn, kind, status, headers, body)
  txn:set_var("txn.answer", kind)
  local reply = txn:reply({ status = status, reason = REASONS[status], body = body })
  reply:add_header("server", "awselb/2.0")
  for name, value in pairs(headers) do reply:add_header(name, value) end
  reply:add_header("content-length", #body)
  txn:done(reply)
end

local function route(txn)
  local waited = 0
  while not nodes and waited < WAIT_SECONDS * 1000 do
    core.msleep(PAUSE_MILLISECONDS)
    waited = waited + PAUSE_MILLISECONDS
  end
  local headers = txn.http:req_get_headers()
  local host = (headers["host"] or {})[0] or ""
  local request = {
    headers = headers,
    host = (host:gsub(":%d+$", "")),
    path = txn.f:path() or "/",
    query = txn.f:query() or "",
    method = txn.f:method() or "GET",
    source = number(txn.f:src()),
    port = txn.f:dst_port(),
    secure = txn.f:ssl_fc() and txn.f:ssl_fc() ~= 0,
    version = tonumber(txn.f:req_ver()) or 1,
    grpc = ((headers["content-type"] or {})[0] or ""):find("^application/grpc") ~= nil,
  }
  local action = first_match(request)
  if action and action.forward then
    local group = draw(action.forward)
    if group and not compatible(group.version, request) then
      answer(txn, "own", 464, {}, "")
    else
      txn:set_var("txn.backend", group and group.backend or "none")
    end
  elseif action and action.redirect then
    local to = location(action.redirect, request)
    answer(txn, "redirect", action.status, { location = to, ["content-type"] = "text/html" }, "")
  elseif action then
    answer(txn, "fixed", action.status, { ["content-type"] = action.type }, action.body)
  else
    txn:set_var("txn.backend", "none")
  end
end

core.register_action("route", { "http-req" }, route, 0)
core.register_cli({ "fleetswap", "routes" }, "fleetswap routes: read the routing table again", function(applet)
  applet:send((load_rules() or "loaded") .. "\n")
end)
