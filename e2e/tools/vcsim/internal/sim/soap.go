package sim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// call is the method and the target of a SOAP request.
type call struct {
	method string
	this   types.ManagedObjectReference
}

// parseCall reads the method and its target from a SOAP envelope; both are empty if it cannot parse the body.
func parseCall(body []byte) call {
	var c call
	decoder := xml.NewDecoder(bytes.NewReader(body))
	inBody := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return c
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case !inBody:
			inBody = start.Name.Local == "Body"
		case c.method == "":
			c.method = start.Name.Local
		case start.Name.Local == "_this":
			for _, attr := range start.Attr {
				if attr.Name.Local == "type" {
					c.this.Type = attr.Value
				}
			}
			if value, err := decoder.Token(); err == nil {
				if text, ok := value.(xml.CharData); ok {
					c.this.Value = string(text)
				}
			}
			return c
		default:
			return c // _this is always the first argument
		}
	}
}

const envelope = xml.Header + `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"` +
	` xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
	`<soapenv:Body>%s</soapenv:Body></soapenv:Envelope>`

// newFault returns a fault of the named vim type, about the object this where the type names one.
func newFault(name string, this types.ManagedObjectReference) (types.BaseMethodFault, error) {
	kind, ok := types.TypeFunc()(name)
	if !ok {
		return nil, fmt.Errorf("unknown vim type %q; use the name of a fault, such as NoPermission", name)
	}
	value := reflect.New(kind)
	fault, ok := value.Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%q is a vim type but not a fault; use the name of a fault, such as NoPermission", name)
	}
	// Set the fields that a client's decoder may require.
	for i := range kind.NumField() {
		field := value.Elem().Field(i)
		switch field.Interface().(type) {
		case types.ManagedObjectReference:
			field.Set(reflect.ValueOf(this))
		case *types.ManagedObjectReference:
			field.Set(reflect.ValueOf(&this))
		case types.VirtualMachinePowerState:
			field.Set(reflect.ValueOf(types.VirtualMachinePowerStatePoweredOff))
		}
	}
	return fault, nil
}

// writeFault writes a fault as vCenter does: status 500, and the fault's type in xsi:type.
func writeFault(w http.ResponseWriter, fault types.BaseMethodFault) error {
	name := reflect.TypeOf(fault).Elem().Name()
	var detail bytes.Buffer
	start := xml.StartElement{
		Name: xml.Name{Local: name + "Fault"},
		Attr: []xml.Attr{
			{Name: xml.Name{Local: "xmlns"}, Value: "urn:" + vim25.Namespace},
			{Name: xml.Name{Local: "xsi:type"}, Value: name},
		},
	}
	encoder := xml.NewEncoder(&detail)
	if err := encoder.EncodeElement(fault, start); err != nil {
		return err
	}
	if err := encoder.Flush(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, err := fmt.Fprintf(w, envelope, `<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring></faultstring><detail>`+
		detail.String()+`</detail></soapenv:Fault>`)
	return err
}

// writeTask writes the answer of a *_Task method: a reference to the task.
func writeTask(w http.ResponseWriter, method string, task types.ManagedObjectReference) error {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, err := fmt.Fprintf(w, envelope, fmt.Sprintf(`<%[1]sResponse xmlns="urn:%[2]s"><returnval type="Task">%[3]s</returnval></%[1]sResponse>`,
		method, vim25.Namespace, task.Value))
	return err
}

// reply buffers a whole answer, so that the endpoint can change or drop it.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newReply() *reply { return &reply{header: http.Header{}, status: http.StatusOK} }

func (r *reply) Header() http.Header         { return r.header }
func (r *reply) WriteHeader(status int)      { r.status = status }
func (r *reply) Write(b []byte) (int, error) { return r.body.Write(b) }

// send writes the answer to the client.
func (r *reply) send(w http.ResponseWriter) {
	for key, values := range r.header {
		w.Header()[key] = values
	}
	w.WriteHeader(r.status)
	_, _ = io.Copy(w, &r.body)
}
