-- Gives a claim back, if it is that one. ARGV: prefix, key, number of the claim.
local claim = ARGV[1] .. 'c:' .. ARGV[2]
if redis.call('HGET', claim, 'fence') == ARGV[3] then
  redis.call('DEL', claim)
end
return 1
