package schema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/schema"
)

func TestBlobLease(t *testing.T) {
	owner, token := "worker-a", "0c9a8a5b-0000-0000-0000-000000000000"
	for _, tt := range []struct {
		name, text string
		want       schema.BlobLease
	}{
		{"never owned", `{"PartitionId":"oldhub-control-00","Owner":null,"Token":null,"Epoch":0}`, schema.BlobLease{PartitionID: "oldhub-control-00"}},
		{"owned", `{"PartitionId":"oldhub-control-00","Owner":"worker-a","Token":"0c9a8a5b-0000-0000-0000-000000000000","Epoch":12}`, schema.BlobLease{PartitionID: "oldhub-control-00", Owner: &owner, Token: &token, Epoch: 12}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schema.DecodeBlobLease([]byte(tt.text))
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("DecodeBlobLease(%s): %v (-want +got):\n%s", tt.text, err, diff)
			}
			if back := string(got.AppendJSON(nil)); back != tt.text {
				t.Errorf("AppendJSON = %s, want %s", back, tt.text)
			}
		})
	}
}

func TestTaskHubInfo(t *testing.T) {
	const text = `{"TaskHubName":"blobLeases7","CreatedAt":"2026-11-22T04:07:41.1780201Z","PartitionCount":7}`
	got, err := schema.DecodeTaskHubInfo([]byte(text))
	want := schema.TaskHubInfo{TaskHubName: "blobLeases7", CreatedAt: ticks(t, "2026-11-22T04:07:41.1780201Z"), PartitionCount: 7}
	if got != want || err != nil {
		t.Errorf("DecodeTaskHubInfo(%s) = %+v, %v, want %+v", text, got, err, want)
	}
	if back := string(got.AppendJSON(nil)); back != text {
		t.Errorf("AppendJSON = %s, want %s", back, text)
	}
	// The framework reads it without regard to case.
	const small = `{"taskHubName":"blobLeases7","createdAt":"2026-11-22T04:07:41.1780201Z","partitionCount":7}`
	if got, err := schema.DecodeTaskHubInfo([]byte(small)); got != want || err != nil {
		t.Errorf("DecodeTaskHubInfo(%s) = %+v, %v, want %+v", small, got, err, want)
	}
}

func TestAppLeaseInfo(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       schema.AppLeaseInfo
	}{
		{"no app has run", `{}`, schema.AppLeaseInfo{}},
		{"owned", `{"OwnerId":"a2a28283-0000-0000-0000-000000000000","DesiredSwapId":null}`, schema.AppLeaseInfo{OwnerID: schema.Some("a2a28283-0000-0000-0000-000000000000")}},
		{"to be swapped", `{"OwnerId":"a","DesiredSwapId":"b"}`, schema.AppLeaseInfo{OwnerID: schema.Some("a"), DesiredSwapID: schema.Some("b")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schema.DecodeAppLeaseInfo([]byte(tt.text))
			if got != tt.want || err != nil {
				t.Errorf("DecodeAppLeaseInfo(%s) = %+v, %v, want %+v", tt.text, got, err, tt.want)
			}
			if back := string(got.AppendJSON(nil)); back != tt.text {
				t.Errorf("AppendJSON = %s, want %s", back, tt.text)
			}
		})
	}
}

func TestLeaseErrors(t *testing.T) {
	for _, text := range []string{``, `[]`, `{`, `{"Epoch":"x","CreatedAt":"x","OwnerId":5}`} {
		if got, err := schema.DecodeBlobLease([]byte(text)); err == nil {
			t.Errorf("DecodeBlobLease(%s) = %+v, want an error", text, got)
		}
		if got, err := schema.DecodeTaskHubInfo([]byte(text)); err == nil {
			t.Errorf("DecodeTaskHubInfo(%s) = %+v, want an error", text, got)
		}
		if got, err := schema.DecodeAppLeaseInfo([]byte(text)); err == nil {
			t.Errorf("DecodeAppLeaseInfo(%s) = %+v, want an error", text, got)
		}
	}
}
