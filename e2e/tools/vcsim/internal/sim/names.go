package sim

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A vCenter keeps `%`, `/` and `\` in names escaped, so that an inventory path can be split at its slashes.
var (
	escaper   = strings.NewReplacer(`%`, `%25`, `/`, `%2f`, `\`, `%5c`)
	unescaper = strings.NewReplacer(`%25`, `%`, `%2f`, `/`, `%2F`, `/`, `%5c`, `\`, `%5C`, `\`)
)

// escape returns the name as the inventory keeps it, whether the caller escaped it or not.
func escape(name string) string { return escaper.Replace(unescape(name)) }

// unescape returns the name without escapes.
func unescape(name string) string { return unescaper.Replace(name) }

// accountName returns the name under which a vCenter shows an account in sessions and tasks: DOMAIN\User for a login
// as user@domain, with the spelling of its directory, which is not always the one that was typed.
func accountName(login string) string {
	at := strings.LastIndex(login, "@")
	if at <= 0 {
		return login
	}
	first, size := utf8.DecodeRuneInString(login)
	return strings.ToUpper(login[at+1:]) + `\` + string(unicode.ToUpper(first)) + login[size:at]
}

// volume returns the datastore part of a datastore path: "[name]".
func volume(path string) string {
	if end := strings.Index(path, "]"); end >= 0 {
		return path[:end+1]
	}
	return "[]"
}
