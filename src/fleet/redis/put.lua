-- Writes a record. ARGV: prefix, key, the revision that it replaces or '', key of the claim or '', its session, its number, life in
-- ms or '0', content. Returns the revision; '' if another record is there; 'lost' if the claim is.
local p = ARGV[1]
if is_lost(p, ARGV[4], ARGV[5], ARGV[6]) then
  return 'lost'
end
local record = p .. 'd:' .. ARGV[2]
if ARGV[3] ~= '' and ARGV[3] ~= (redis.call('HGET', record, 'rev') or '0') then
  return ''
end
local rev = string.format('%.0f', redis.call('INCR', p .. 'rev'))
redis.call('DEL', record)
redis.call('HSET', record, 'rev', rev, 'fence', ARGV[6], 'content', ARGV[8])
if ARGV[7] ~= '0' then
  redis.call('PEXPIRE', record, ARGV[7])
end
redis.call('ZADD', p .. 'index', rev, ARGV[2])
redis.call('ZREM', p .. 'gone', ARGV[2])
redis.call('PUBLISH', p .. 'notice', rev)
return rev
