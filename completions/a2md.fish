# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_a2md_global_optspecs
    string join \n h/help a/acme= C/cafile= d/dir= j/json p/proxy= q/quiet t/terms= v/verbose V/version
end

function __fish_a2md_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_a2md_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_a2md_using_subcommand
    set -l cmd (__fish_a2md_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c a2md -n "__fish_a2md_needs_command" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_needs_command" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_needs_command" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_needs_command" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_needs_command" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_needs_command" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_needs_command" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_needs_command" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_needs_command" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_needs_command" -s V -l version -d 'Print the version'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "add" -d 'Add a managed domain'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "update" -d 'Change a managed domain'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "list" -d 'List managed domains'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "drive" -d 'Renew certificates that are due, and activate them'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "renew" -d 'Renew certificates that are due, and activate them'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "revoke" -d 'Revoke the certificates of a managed domain'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "status" -d 'Show the certificates and renewals of managed domains'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "certificates" -d 'Show the certificates and renewals of managed domains'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "check" -d 'Show what the next start of the server would activate, discard or repair'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "preflight" -d 'Find out what would keep a CA from issuing certificates'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "persist-record" -d 'Print the permanent TXT records for the challenge dns-persist-01'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "import" -d 'Import certificates of other programs'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "store" -d 'Change the store without checks'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "acme" -d 'Manage accounts at an ACME server'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "fleet" -d 'Prepare an engine by which several servers will share certificates'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "help" -d 'Print help'
complete -c a2md -n "__fish_a2md_needs_command" -f -a "version" -d 'Print the version'
complete -c a2md -n "__fish_a2md_using_subcommand add" -s c -l contact -d 'Where the ACME server can reach you' -r
complete -c a2md -n "__fish_a2md_using_subcommand add" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand add" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand add" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand add" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand add" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand add" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand add" -l now -d 'Obtain the certificate at once'
complete -c a2md -n "__fish_a2md_using_subcommand add" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand add" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand add" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand update" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand update" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand update" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand update" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand update" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand update" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand update" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand update" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand update" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand list" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand list" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand list" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand list" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand list" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand list" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand list" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand list" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand list" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s c -l challenge -d 'Use only this challenge type' -r
complete -c a2md -n "__fish_a2md_using_subcommand drive" -l jobs -d 'Renew so many domains side by side' -r
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s f -l force -d 'Renew certificates of all key types even if they are not due'
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s r -l reset -d 'Discard what an earlier renewal has left in staging'
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand drive" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s c -l challenge -d 'Use only this challenge type' -r
complete -c a2md -n "__fish_a2md_using_subcommand renew" -l jobs -d 'Renew so many domains side by side' -r
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s f -l force -d 'Renew certificates of all key types even if they are not due'
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s r -l reset -d 'Discard what an earlier renewal has left in staging'
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand renew" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s r -l reason -d 'Reason' -r
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand revoke" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand status" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand status" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand status" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand status" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand status" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand status" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand status" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand status" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand status" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand certificates" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand check" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand check" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand check" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand check" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand check" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand check" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand check" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand check" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand check" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s r -l resolver -d 'Name server to ask' -r
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s P -l http-port -d 'Port at which the CA looks for http-01' -r
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s S -l https-port -d 'Port at which the CA looks for tls-alpn-01' -r
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand preflight" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s u -l until -d 'Time at which the records expire' -r
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand persist-record" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand import; and not __fish_seen_subcommand_from certbot" -f -a "certbot" -d 'Create a managed domain for each certificate of certbot'
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand import; and __fish_seen_subcommand_from certbot" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -f -a "add" -d 'Add a managed domain, without checks'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -f -a "remove" -d 'Remove the settings of managed domains; keys and certificates stay'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -f -a "list" -d 'List managed domains'
complete -c a2md -n "__fish_a2md_using_subcommand store; and not __fish_seen_subcommand_from add remove list update" -f -a "update" -d 'Change the DNS names or the ACME server (-a) of a managed domain, without checks'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s f -l force -d 'Ignore domains that do not exist'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand store; and __fish_seen_subcommand_from update" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "newreg" -d 'Register an account'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "validate" -d 'Ask the ACME server whether accounts are valid'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "agree" -d 'Agree to the terms of service of the ACME server'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "update" -d 'Change the contacts of an account, and its agreement to the terms of service'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "rollover" -d 'Replace the keys of accounts'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "import" -d 'Import the account of a key that another program has created'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "deactivate" -d 'Deactivate accounts for good'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and not __fish_seen_subcommand_from newreg validate agree update rollover import deactivate delreg" -f -a "delreg" -d 'Remove accounts from the store; the ACME server is not informed'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from newreg" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from validate" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from agree" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from update" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from rollover" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s y -l yes -d 'Confirm the deactivation'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from deactivate" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand acme; and __fish_seen_subcommand_from delreg" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -f -a "keygen" -d 'Print a new key for the records of a fleet'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and not __fish_seen_subcommand_from keygen check" -f -a "check" -d 'Find out whether a Redis or Valkey can be the meeting point of a fleet'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from keygen" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s l -l login -d 'File with the user' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s k -l key -d 'File with the keys of the fleet' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s R -l roots -d 'PEM file with the certificates to trust' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s s -l suite -d 'Try all that a fleet needs of the engine'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand fleet; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand help" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand help" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand help" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand help" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand help" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand help" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand help" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand help" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand help" -s v -l verbose -d 'Print more messages'
complete -c a2md -n "__fish_a2md_using_subcommand version" -s a -l acme -d 'Directory URL of the ACME server' -r
complete -c a2md -n "__fish_a2md_using_subcommand version" -s C -l cafile -d 'PEM file with the root certificates to trust for connections to the ACME server' -r -F
complete -c a2md -n "__fish_a2md_using_subcommand version" -s d -l dir -d 'Directory of the store' -r -f -a "(__fish_complete_directories)"
complete -c a2md -n "__fish_a2md_using_subcommand version" -s p -l proxy -d 'URL of the HTTP proxy' -r
complete -c a2md -n "__fish_a2md_using_subcommand version" -s t -l terms -d 'Agreement to the terms of service' -r
complete -c a2md -n "__fish_a2md_using_subcommand version" -s h -l help -d 'Print help'
complete -c a2md -n "__fish_a2md_using_subcommand version" -s j -l json -d 'Print one JSON document instead of lines'
complete -c a2md -n "__fish_a2md_using_subcommand version" -s q -l quiet -d 'Print fewer messages'
complete -c a2md -n "__fish_a2md_using_subcommand version" -s v -l verbose -d 'Print more messages'
