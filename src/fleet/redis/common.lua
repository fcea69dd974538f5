-- Stands in front of the scripts that have to do with claims and time.

-- The engine's clock, in ms.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether a claim with a key is not had any more by this session under this number, or the session is over. No key: nothing is lost.
local function is_lost(p, key, session, fence)
  if key == '' then
    return false
  end
  local claim = redis.call('HMGET', p .. 'c:' .. key, 'session', 'fence')
  return claim[1] ~= session or claim[2] ~= fence or redis.call('EXISTS', p .. 's:' .. session) == 0
end

