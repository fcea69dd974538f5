-- Ends a session, whose claims end with it. ARGV: prefix, session.
redis.call('DEL', ARGV[1] .. 's:' .. ARGV[2])
redis.call('SREM', ARGV[1] .. 'sessions', ARGV[2])
redis.call('PUBLISH', ARGV[1] .. 'notice', '-')
return 1
