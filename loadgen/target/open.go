package target

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"headroom/workloads/units"
)

// Schemes lists the kinds of targets that ParseSpec knows, with their forms.
var Schemes = []string{"quic://HOST:PORT,… (Headroom)", "redis://[USER:PASSWORD@]HOST:PORT[/DB]", "memcached://HOST:PORT",
	"aerospike://HOST:PORT/NAMESPACE", "device:PATH[?size=SIZE]", "null"}

// connectionsMax bounds the connections of one lane.
const connectionsMax = 4096

// Spec is a target as the command line names it.
type Spec struct {
	Scheme string   // quic, redis, memcached, aerospike, device or null
	Addrs  []string // host:port, one but for quic
	// Namespace of aerospike; for quic it is a flag of its own.
	Namespace      string
	User, Password string
	DB             int
	Connections    int // per lane; zero is the driver's default
	// Device is a device's path and size; the rest of it is for the caller to
	// fill in before Open.
	Device DeviceConfig
}

// ParseSpec reads "quic://a:1,b:2", "redis://h:p?connections=32", "null" and so
// on. Its errors say what is accepted.
func ParseSpec(s string) (Spec, error) {
	if s == "null" || s == "null:" {
		return Spec{Scheme: "null"}, nil
	}
	if rest, ok := strings.CutPrefix(s, devicePrefix); ok {
		return parseDevice(rest)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Spec{}, fmt.Errorf("%q: want %s", s, strings.Join(Schemes, ", "))
	}
	switch scheme {
	case "quic":
		spec := Spec{Scheme: scheme}
		for a := range strings.SplitSeq(rest, ",") {
			spec.Addrs = append(spec.Addrs, strings.TrimPrefix(a, "quic://"))
		}
		return spec, checkAddrs(spec.Addrs)
	case "redis", "memcached", "aerospike":
		return parseURL(s)
	case "rediss":
		return Spec{}, fmt.Errorf("%q: TLS to Redis is not supported, use redis://", s)
	}
	return Spec{}, fmt.Errorf("%q: unknown kind of target %q, want %s", s, scheme, strings.Join(Schemes, ", "))
}

// devicePrefix begins a device as a target.
const devicePrefix = "device:"

// parseDevice reads PATH[?size=SIZE].
func parseDevice(s string) (Spec, error) {
	path, query, _ := strings.Cut(s, "?")
	spec := Spec{Scheme: "device", Device: DeviceConfig{Path: path}}
	values, err := url.ParseQuery(query)
	if err != nil || path == "" || path[0] == '/' && strings.HasPrefix(path, "//") {
		return spec, fmt.Errorf("%q: want device:PATH, or device:PATH?size=1GiB", devicePrefix+s)
	}
	for key, v := range values {
		if key != "size" {
			return spec, fmt.Errorf("%q: unknown setting %q, want size=SIZE", devicePrefix+s, key)
		}
		size, err := units.ParseBytes(v[0])
		if err != nil || size <= 0 {
			return spec, fmt.Errorf("%q: size %q, want one such as 1GiB", devicePrefix+s, v[0])
		}
		spec.Device.Size = int64(size)
	}
	return spec, nil
}

var defaultPorts = map[string]string{"redis": "6379", "memcached": "11211", "aerospike": "3000"}

func parseURL(s string) (Spec, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Spec{}, err
	}
	spec := Spec{Scheme: u.Scheme, User: u.User.Username()}
	spec.Password, _ = u.User.Password()
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	spec.Addrs = []string{net.JoinHostPort(u.Hostname(), port)}
	path := strings.Trim(u.Path, "/")
	switch {
	case u.Scheme == "aerospike":
		if spec.Namespace = path; path == "" {
			return spec, fmt.Errorf("%q: want a namespace, aerospike://HOST:PORT/NAMESPACE", s)
		}
	case u.Scheme == "redis" && path != "":
		if spec.DB, err = strconv.Atoi(path); err != nil || spec.DB < 0 {
			return spec, fmt.Errorf("%q: database %q is not a number", s, path)
		}
	case path != "":
		return spec, fmt.Errorf("%q: nothing may follow the port but ?connections=N", s)
	}
	for key, values := range u.Query() {
		if key != "connections" {
			return spec, fmt.Errorf("%q: unknown setting %q, want connections=N (per lane)", s, key)
		}
		if spec.Connections, err = strconv.Atoi(values[0]); err != nil || spec.Connections < 1 || spec.Connections > connectionsMax {
			return spec, fmt.Errorf("%q: connections %q, want 1 to %d", s, values[0], connectionsMax)
		}
	}
	return spec, checkAddrs(spec.Addrs)
}

func checkAddrs(addrs []string) error {
	for _, a := range addrs {
		host, port, err := net.SplitHostPort(a)
		n, nerr := strconv.Atoi(port)
		if err != nil || host == "" || nerr != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q is not HOST:PORT", a)
		}
	}
	return nil
}

// Open connects to the target; it waits as long as ctx lets it. h is used for
// quic, with the spec's addresses unless it has seeds of its own.
func (s *Spec) Open(ctx context.Context, h HeadroomConfig) (Target, error) {
	cfg := StreamConfig{User: s.User, Password: s.Password, DB: s.DB, Connections: s.Connections}
	if len(s.Addrs) > 0 {
		cfg.Addr = s.Addrs[0]
	}
	var t Target
	var err error
	switch s.Scheme {
	case "null":
		return Null{}, nil
	case "device":
		t, err = OpenDevice(s.Device)
	case "redis":
		t, err = DialRedis(ctx, cfg)
	case "memcached":
		t, err = DialMemcached(ctx, cfg)
	case "aerospike":
		t, err = DialAerospike(ctx, cfg, s.Namespace)
	default:
		if len(h.Seeds) == 0 {
			h.Seeds = s.Addrs
		}
		t, err = DialHeadroom(ctx, h)
	}
	if err != nil { // t may hold a nil pointer
		return nil, err
	}
	return t, nil
}
