package sim

import "sync"

// pace is how the answers of waits are cut and repeated.
type pace struct {
	mu      sync.Mutex
	set     Pace
	counted PaceCounts
}

// Pace is what a test asks of the answers of waits.
type Pace struct {
	// Objects is the maximum of objects in one answer; 0: as the client asks.
	Objects int `json:"objects"`
	// Repeats is the number of answers to give twice, the second time with another version.
	Repeats int `json:"repeats"`
}

// PaceCounts is the number of answers since the start.
type PaceCounts struct {
	// Truncated answers have left objects for the next one.
	Truncated uint64 `json:"truncated"`
	// Repeated answers were given twice.
	Repeated uint64 `json:"repeated"`
}

func (p *pace) put(set Pace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = set
}

func (p *pace) counts() PaceCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counted
}

// limit returns the maximum of objects in an answer to a client that asks for so many.
func (p *pace) limit(objects int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set.Objects > 0 {
		return min(objects, p.set.Objects)
	}
	return objects
}

// truncated counts an answer that leaves objects for the next one.
func (p *pace) truncated() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted.Truncated++
}

// repeat reports whether an answer is to be given twice.
func (p *pace) repeat() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set.Repeats == 0 {
		return false
	}
	p.set.Repeats--
	return true
}

// repeated counts an answer that was given twice.
func (p *pace) repeated() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted.Repeated++
}
