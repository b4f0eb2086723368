package sim

import (
	"strings"
)

// vCenter keeps `%`, `/` and `\` escaped in names, so that an inventory path can be split at its slashes.
var (
	escaper   = strings.NewReplacer(`%`, `%25`, `/`, `%2f`, `\`, `%5c`)
	unescaper = strings.NewReplacer(`%25`, `%`, `%2f`, `/`, `%2F`, `/`, `%5c`, `\`, `%5C`, `\`)
)

// escape gives the name as the inventory keeps it, whether the caller escaped it or not.
func escape(name string) string { return escaper.Replace(unescape(name)) }

// unescape gives the name as a person typed it.
func unescape(name string) string { return unescaper.Replace(name) }

// volume is the datastore part of a datastore path: "[name]".
func volume(path string) string {
	if end := strings.Index(path, "]"); end >= 0 {
		return path[:end+1]
	}
	return "[]"
}
