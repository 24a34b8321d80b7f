package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// testService is gRPC's own service for tests.
type testService struct {
	pb.UnimplementedTestServiceServer
	arrived chan struct{}    // a FullDuplexCall has begun
	ended   chan error       // and why it did
	hold    func(string)     // called by UnaryCall with what the client said
	seen    chan metadata.MD // of a UnaryCall; nil: nobody wants it
}

func newTestService() *testService {
	return &testService{arrived: make(chan struct{}, 100), ended: make(chan error, 100)}
}

// UnaryCall answers with as many bytes as it is asked for, or with the status that it is
// asked for and a detail.
func (s *testService) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if s.seen != nil {
		s.seen <- md
	}
	grpc.SetHeader(ctx, metadata.MD{"to-client": md["to-server"]})
	grpc.SetTrailer(ctx, metadata.MD{"after-bin": md["to-server-bin"]})
	if s.hold != nil {
		s.hold(in.GetPayload().String())
	}
	if e := in.GetResponseStatus(); e != nil {
		detailed, err := status.New(codes.Code(e.GetCode()), e.GetMessage()).WithDetails(&pb.Payload{Body: []byte("detail")})
		if err != nil {
			return nil, err
		}
		return nil, detailed.Err()
	}
	return &pb.SimpleResponse{Payload: &pb.Payload{Body: bytes.Repeat([]byte("x"), int(in.GetResponseSize()))}, Username: string(rune(len(in.GetPayload().GetBody())))}, nil
}

// StreamingInputCall says how much it got.
func (s *testService) StreamingInputCall(stream grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	sum := 0
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		}
		if err != nil {
			return err
		}
		sum += len(in.GetPayload().GetBody())
	}
}

func (s *testService) StreamingOutputCall(in *pb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	for _, p := range in.GetResponseParameters() {
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	return nil
}

// FullDuplexCall answers each message with itself.
func (s *testService) FullDuplexCall(stream grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) (err error) {
	s.arrived <- struct{}{}
	defer func() { s.ended <- err }()
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

const maxMessage = 16 << 20

// grpcServer starts a server and returns its address.
func grpcServer(t testing.TB, s pb.TestServiceServer, options ...grpc.ServerOption) (string, *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(maxMessage))...)
	pb.RegisterTestServiceServer(g, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Serve(l)
	}()
	t.Cleanup(func() {
		g.Stop()
		<-done
	})
	return l.Addr().String(), g
}

// h2cPool is a pool over backends that speak HTTP/2.
func h2cPool(t testing.TB, addresses ...string) (*Pool, *backends) {
	p, b := poolOf(t, addresses...)
	p.Protocol = H2C
	return p, b
}

// grpc connects a client.
func (f *front) grpc() pb.TestServiceClient {
	f.t.Helper()
	c, err := grpc.NewClient("passthrough:///"+f.addr,
		grpc.WithTransportCredentials(credentials.NewTLS(f.tls(www))),
		grpc.WithAuthority(www),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return pb.NewTestServiceClient(c)
}

func payload(n int) *pb.Payload { return &pb.Payload{Body: bytes.Repeat([]byte("x"), n)} }

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestGRPC_UnaryOfAnySize(t *testing.T) {
	address, _ := grpcServer(t, newTestService())
	pool, b := h2cPool(t, address)
	f := serve(t, pool)
	c := f.grpc()
	for _, size := range []int{0, 1, 100, 70_000, 5 << 20} {
		out, err := c.UnaryCall(bounded(t), &pb.SimpleRequest{Payload: payload(size), ResponseSize: int32(size)})
		if err != nil || len(out.GetPayload().GetBody()) != size {
			t.Fatalf("%d bytes: got %d, %v", size, len(out.GetPayload().GetBody()), err)
		}
		if r := b.next(); r.err != nil {
			t.Errorf("released with %v", r.err)
		}
		if line := f.access.next(t); line["status"].Int64() != 200 || line["outcome"].String() != "ok" || line["bytes_in"].Int64() < int64(size) {
			t.Errorf("logged %v", line)
		}
	}
}

func TestGRPC_MetadataGoesBothWays(t *testing.T) {
	s := newTestService()
	s.seen = make(chan metadata.MD, 1)
	address, _ := grpcServer(t, s)
	pool, _ := h2cPool(t, address)
	f := serve(t, pool)
	ctx := metadata.AppendToOutgoingContext(bounded(t), "to-server", "one", "to-server", "two", "to-server-bin", "\x00\xff")
	var header, trailer metadata.MD
	if _, err := f.grpc().UnaryCall(ctx, &pb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if got := header["to-client"]; len(got) != 2 || got[0] != "one" || got[1] != "two" {
		t.Errorf("header %v", header)
	}
	if got := trailer["after-bin"]; len(got) != 1 || got[0] != "\x00\xff" {
		t.Errorf("trailer %v", trailer)
	}
	seen := await(t, "the metadata", s.seen)
	if seen["x-forwarded-for"] == nil || seen[":authority"][0] != www {
		t.Errorf("the server saw %v", seen)
	}
}

func TestGRPC_ErrorsKeepTheirDetails(t *testing.T) {
	address, _ := grpcServer(t, newTestService())
	pool, b := h2cPool(t, address)
	f := serve(t, pool)
	c := f.grpc()
	_, err := c.UnaryCall(bounded(t), &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: int32(codes.FailedPrecondition), Message: "not so, ü"}})
	s := status.Convert(err)
	if s.Code() != codes.FailedPrecondition || s.Message() != "not so, ü" || len(s.Details()) != 1 {
		t.Fatalf("%v, details %v", err, s.Details())
	}
	if d, ok := s.Details()[0].(*pb.Payload); !ok || string(d.GetBody()) != "detail" {
		t.Errorf("details %v", s.Details())
	}
	if r := b.next(); r.err != nil {
		t.Errorf("released with %v", r.err)
	}
	// An answer that is trailers alone.
	if _, err := c.UnimplementedCall(bounded(t), &pb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
}

func TestGRPC_ClientStreaming(t *testing.T) {
	address, _ := grpcServer(t, newTestService())
	pool, _ := h2cPool(t, address)
	f := serve(t, pool)
	stream, err := f.grpc().StreamingInputCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for n := 1; n < 2_000_000; n *= 3 {
		sum += n
		if err := stream.Send(&pb.StreamingInputCallRequest{Payload: payload(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := stream.CloseAndRecv(); err != nil || int(out.GetAggregatedPayloadSize()) != sum {
		t.Errorf("%v, %v, want %d", out, err, sum)
	}
}

func TestGRPC_ServerStreaming(t *testing.T) {
	address, _ := grpcServer(t, newTestService())
	pool, _ := h2cPool(t, address)
	f := serve(t, pool)
	in := &pb.StreamingOutputCallRequest{}
	for n := int32(1); n < 2_000_000; n *= 3 {
		in.ResponseParameters = append(in.ResponseParameters, &pb.ResponseParameters{Size: n})
	}
	for range 3000 {
		in.ResponseParameters = append(in.ResponseParameters, &pb.ResponseParameters{Size: 10})
	}
	stream, err := f.grpc().StreamingOutputCall(bounded(t), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range in.ResponseParameters {
		if out, err := stream.Recv(); err != nil || len(out.GetPayload().GetBody()) != int(p.GetSize()) {
			t.Fatalf("message %d: %d bytes, %v", i, len(out.GetPayload().GetBody()), err)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("ended with %v", err)
	}
}

// TestGRPC_PingPong sends each message when the last one was answered, so often that
// what such a conversation makes both ends ask of each other is not taken for a flood.
func TestGRPC_PingPong(t *testing.T) {
	s := newTestService()
	address, _ := grpcServer(t, s)
	pool, _ := h2cPool(t, address)
	f := serve(t, pool)
	stream, err := f.grpc().FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		if err := stream.Send(&pb.StreamingOutputCallRequest{Payload: payload(i % 50)}); err != nil {
			t.Fatal(err)
		}
		if out, err := stream.Recv(); err != nil || len(out.GetPayload().GetBody()) != i%50 {
			t.Fatalf("message %d: %v, %v", i, out, err)
		}
	}
	stream.CloseSend()
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("ended with %v", err)
	}
	if err := await(t, "the server's end", s.ended); err != nil {
		t.Errorf("the server saw %v", err)
	}
}

// TestGRPC_SilentClientIsNotCut has a client that says nothing for longer than
// a body may make no progress.
func TestGRPC_SilentClientIsNotCut(t *testing.T) {
	s := newTestService()
	address, _ := grpcServer(t, s)
	pool, _ := h2cPool(t, address)
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Read, t.Write, t.Idle = short, short, short }))
	stream, err := f.grpc().FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&pb.StreamingOutputCallRequest{})
	await(t, "the call", s.arrived)
	time.Sleep(4 * short) // the client's silence, not a wait for a condition
	stream.Send(&pb.StreamingOutputCallRequest{Payload: payload(3)})
	stream.CloseSend()
	for _, want := range []int{0, 3} {
		if out, err := stream.Recv(); err != nil || len(out.GetPayload().GetBody()) != want {
			t.Fatalf("%v, %v", out, err)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Error(err)
	}
}

func TestGRPC_CancelReachesTheServer(t *testing.T) {
	s := newTestService()
	address, _ := grpcServer(t, s)
	pool, b := h2cPool(t, address)
	f := serve(t, pool)
	ctx, cancel := context.WithCancel(bounded(t))
	stream, err := f.grpc().FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the call", s.arrived)
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("the client saw %v", err)
	}
	if err := await(t, "the server's end", s.ended); status.Code(err) != codes.Canceled {
		t.Errorf("the server saw %v", err)
	}
	if r := b.next(); r.blamed() {
		t.Errorf("the backend was blamed: %v", r.err)
	}
	if line := f.access.next(t); line["outcome"].String() != errClientGone.outcome || line["status"].Int64() != 499 {
		t.Errorf("logged %v", line)
	}
}

func TestGRPC_DeadlineIsKeptAtBothEnds(t *testing.T) {
	s := newTestService()
	address, _ := grpcServer(t, s)
	pool, b := h2cPool(t, address)
	f := serve(t, pool)
	c := f.grpc()
	if _, err := c.EmptyCall(bounded(t), &pb.Empty{}); status.Code(err) != codes.Unimplemented { // the connections stand
		t.Fatal(err)
	}
	b.next()
	ctx, cancel := context.WithTimeout(bounded(t), 2*short)
	defer cancel()
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the client saw %v", err)
	}
	if err := await(t, "the server's end", s.ended); err == nil {
		t.Error("the server saw no end")
	}
	if r := b.next(); r.blamed() && !errors.Is(r.err, errBackendBroken) { // whose timer is first is open
		t.Errorf("released with %v", r.err)
	}
}

// quiet keeps no access log, for tests that make more requests than a book takes.
func quiet(c *Config) { c.AccessLog = nil }

// firstOf is a Balancer that keeps no account.
type firstOf []string

func (a firstOf) Pick(tried []string, _ bool) (string, uint64, bool) {
	if len(tried) == len(a) {
		return "", 0, false
	}
	return a[len(tried)], 0, true
}

func (firstOf) Release(uint64, error) {}

func TestGRPC_ManyCallsAtOnce(t *testing.T) {
	address, _ := grpcServer(t, newTestService(), grpc.MaxConcurrentStreams(10))
	f := serve(t, &Pool{Name: "web", Balancer: only(address), Protocol: H2C}, quiet)
	var wg sync.WaitGroup
	for range 4 {
		c := f.grpc()
		for i := range 100 {
			wg.Go(func() {
				for range 5 {
					out, err := c.UnaryCall(bounded(t), &pb.SimpleRequest{Payload: payload(i), ResponseSize: int32(i)})
					if err != nil || len(out.GetPayload().GetBody()) != i {
						t.Errorf("%d bytes, %v", len(out.GetPayload().GetBody()), err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// TestGRPC_ServerThatGoesAwayLosesNothing has one server after the other go
// away gracefully, as in a rolling update, while calls go on.
func TestGRPC_ServerThatGoesAwayLosesNothing(t *testing.T) {
	first, leaving := grpcServer(t, newTestService())
	second, _ := grpcServer(t, newTestService())
	f := serve(t, &Pool{Name: "web", Balancer: firstOf{first, second}, Protocol: H2C}, quiet)
	var calls atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		c := f.grpc()
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.UnaryCall(bounded(t), &pb.SimpleRequest{Payload: payload(10), ResponseSize: 10}); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	until := func(n int64) {
		for calls.Load() < n && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	until(200)
	leaving.GracefulStop()
	until(calls.Load() + 500)
	close(stop)
	wg.Wait()
}
