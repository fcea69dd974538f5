-- Prolongs a session. ARGV: prefix, session, its description, its life in ms, the name of a new memory.
-- Returns the name of the memory, the newest revision, the driver, the descriptions of all sessions that live.
local p = ARGV[1]
redis.call('SET', p .. 's:' .. ARGV[2], ARGV[3], 'PX', ARGV[4])
redis.call('SADD', p .. 'sessions', ARGV[2])
redis.call('SET', p .. 'epoch', ARGV[5], 'NX')
local alive = {}
for _, name in ipairs(redis.call('SMEMBERS', p .. 'sessions')) do
  local session = redis.call('GET', p .. 's:' .. name)
  if session then
    alive[#alive + 1] = session
  else
    redis.call('SREM', p .. 'sessions', name)
  end
end
local driver = redis.call('HGET', p .. 'c:driver/-', 'session')
if not driver or redis.call('EXISTS', p .. 's:' .. driver) == 0 then
  driver = ''
end
return {redis.call('GET', p .. 'epoch'), redis.call('GET', p .. 'rev') or '0', driver, alive}
