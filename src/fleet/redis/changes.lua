-- Lists what has changed. ARGV: prefix, name of the memory, revision. Returns triples of key, revision and whether there is a record;
-- nil if the engine does not know. From revision 0 on, everything is listed that there is.
local p = ARGV[1]
if redis.call('GET', p .. 'epoch') ~= ARGV[2] or (ARGV[3] ~= '0' and tonumber(ARGV[3]) < tonumber(redis.call('GET', p .. 'trimmed') or '0')) then
  return false
end
local found = redis.call('ZRANGEBYSCORE', p .. 'index', '(' .. ARGV[3], '+inf', 'WITHSCORES')
local changes = {}
for at = 1, #found, 2 do
  changes[#changes + 1] = found[at]
  changes[#changes + 1] = found[at + 1]
  changes[#changes + 1] = redis.call('EXISTS', p .. 'd:' .. found[at])
end
return changes
