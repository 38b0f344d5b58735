package transport

import (
	"encoding/binary"
	"net"
	"slices"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

func TestWorksWithoutReceiveOffload(t *testing.T) {
	t.Setenv(envNoGRO, "1")
	dir := devDir(t, 1)
	e := listen(t, nodeConfig(t, dir, 1, echo()))
	if _, on := e.pc.(*groConn); on {
		t.Error("offload is on")
	}
	k := newCaller()
	c, err := newDialer(t, dir).Dial(testContext(t), e.Addr().String(), k.handler())
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, k, c, "plain")
}

// A burst sent with UDP_SEGMENT arrives coalesced over loopback and must come
// out as the datagrams that were sent.
func TestCoalescedDatagramsComeOutOneByOne(t *testing.T) {
	pc, err := listenUDP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	g, ok := pc.(*groConn)
	if !ok {
		t.Skip("this kernel has no UDP_GRO")
	}
	out, err := net.DialUDP("udp", nil, pc.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	burst := make([]byte, 10*1000+7) // ten full segments and a short one
	for i := range burst {
		burst[i] = byte(i / 1000)
	}
	oob := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(oob, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(oob[8:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(oob[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(oob[16:], 1000)
	if _, _, err := out.WriteMsgUDP(burst, oob, nil); err != nil {
		t.Skipf("this kernel has no UDP_SEGMENT: %v", err)
	}
	var sizes []int
	ms := make([]ipv4.Message, 4)
	for i := range ms {
		ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
	}
	for total := 0; total < len(burst); {
		n, err := g.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			if m.Buffers[0][0] != byte(len(sizes)) {
				t.Errorf("datagram %d begins with %d", len(sizes), m.Buffers[0][0])
			}
			sizes = append(sizes, m.N)
			total += m.N
		}
	}
	if want := append(slices.Repeat([]int{1000}, 10), 7); !slices.Equal(sizes, want) {
		t.Errorf("sizes = %v, want %v", sizes, want)
	}
}
