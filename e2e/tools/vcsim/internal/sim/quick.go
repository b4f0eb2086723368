package sim

import (
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// readQuickly reads properties of a machine, a folder or a task. The simulator's own reading copies each object through
// XML, which takes most of the time of a wait over thousands of machines. ok is false if a property is of a kind that
// this function does not copy; the content is nil if the object does not exist.
func readQuickly(ctx *simulator.Context, ref types.ManagedObjectReference, properties []types.PropertySpec) (content *types.ObjectContent, ok bool) {
	ok = true
	ctx.WithLock(ref, func() {
		var object reflect.Value
		switch o := ctx.Session.Get(ref).(type) {
		case nil:
			return
		case *simulator.VirtualMachine:
			object = reflect.ValueOf(&o.VirtualMachine).Elem()
		case *simulator.Folder:
			object = reflect.ValueOf(&o.Folder).Elem()
		case *simulator.Task:
			object = reflect.ValueOf(&o.Task).Elem()
		default:
			ok = false
			return
		}
		content = &types.ObjectContent{Obj: ref}
		for _, p := range properties {
			if p.Type != ref.Type {
				continue
			}
			if p.All != nil && *p.All {
				ok = false
				return
			}
			for _, path := range p.PathSet {
				var val types.AnyType
				if val, ok = propertyAt(object, path); !ok {
					return
				}
				if val != nil {
					content.PropSet = append(content.PropSet, types.DynamicProperty{Name: path, Val: val})
				}
			}
		}
	})
	return content, ok
}

// propertyAt returns a copy of the property at the path, as decoding it from XML would give; nil if it is unset.
func propertyAt(object reflect.Value, path string) (val types.AnyType, ok bool) {
	for name := range strings.SplitSeq(path, ".") {
		if object.Kind() == reflect.Pointer {
			if object.IsNil() {
				return nil, true
			}
			object = object.Elem()
		}
		if object.Kind() != reflect.Struct {
			return nil, false
		}
		if object = object.FieldByName(strings.ToUpper(name[:1]) + name[1:]); !object.IsValid() {
			return nil, false
		}
	}
	switch object.Kind() {
	case reflect.Pointer, reflect.Interface:
		if object.IsNil() {
			return nil, true
		}
		object = object.Elem()
	case reflect.String:
		if object.Len() == 0 {
			return nil, true
		}
	}
	switch object.Kind() {
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		return object.Interface(), true
	}
	return copied(object.Interface())
}

// copied returns a copy of a value of the few composed types that the collectors of operators read.
func copied(val any) (types.AnyType, bool) {
	switch v := val.(type) {
	case types.ManagedObjectReference:
		return v, true
	case *types.TaskReasonUser:
		return *v, true
	case time.Time:
		return v.UTC().Round(0), true
	case []types.ManagedObjectReference:
		return types.ArrayOfManagedObjectReference{ManagedObjectReference: append([]types.ManagedObjectReference(nil), v...)}, true
	case []types.BaseOptionValue:
		list := make([]types.BaseOptionValue, len(v))
		for i, option := range v {
			value := *option.GetOptionValue()
			list[i] = &value
		}
		return types.ArrayOfOptionValue{OptionValue: list}, true
	}
	return nil, false
}
