-- Removes a record. ARGV: prefix, key, key of the claim or '', its session, its number, ms for which a removal is listed.
-- Removals that are older are listed no more: who has not seen them has to look at everything.
local p = ARGV[1]
if is_lost(p, ARGV[3], ARGV[4], ARGV[5]) then
  return 'lost'
end
if redis.call('DEL', p .. 'd:' .. ARGV[2]) == 0 then
  return 'none'
end
local rev = string.format('%.0f', redis.call('INCR', p .. 'rev'))
redis.call('ZADD', p .. 'index', rev, ARGV[2])
redis.call('ZADD', p .. 'gone', now(), ARGV[2])
for _, key in ipairs(redis.call('ZRANGEBYSCORE', p .. 'gone', '-inf', now() - ARGV[6], 'LIMIT', 0, 100)) do
  local old = redis.call('ZSCORE', p .. 'index', key)
  if old and tonumber(old) > tonumber(redis.call('GET', p .. 'trimmed') or '0') then
    redis.call('SET', p .. 'trimmed', old)
  end
  redis.call('ZREM', p .. 'index', key)
  redis.call('ZREM', p .. 'gone', key)
end
redis.call('PUBLISH', p .. 'notice', rev)
return rev
