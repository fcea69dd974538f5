-- Claims a key. ARGV: prefix, key, session. Returns the number of the claim; '' if another session that lives has it; 'lost' if
-- the session is over. Numbers rise with the engine's clock, so that they rise on after a loss of memory, too.
local p = ARGV[1]
if redis.call('EXISTS', p .. 's:' .. ARGV[3]) == 0 then
  return 'lost'
end
local claim = p .. 'c:' .. ARGV[2]
local by = redis.call('HGET', claim, 'session')
if by and by ~= ARGV[3] and redis.call('EXISTS', p .. 's:' .. by) == 1 then
  return ''
end
local fence = string.format('%.0f', math.max(tonumber(redis.call('GET', p .. 'fence') or '0') + 1, now()))
redis.call('SET', p .. 'fence', fence)
redis.call('HSET', claim, 'session', ARGV[3], 'fence', fence)
return fence
