package pacing

import (
	"math"
	"time"
)

const (
	// step is how long a pace is watched before it rises further. It is also how often
	// processes tell each other what they see.
	step = 4 * time.Second
	// stepCalls is how many calls a step has at least, so that it shows something.
	stepCalls = 10
	// demand is the part of the pace whose use shows that more is wanted.
	demand = 0.85

	growth  = 1.4  // per step, where no refusal is known
	aim     = 0.97 // of the pace that was refused: what is tried without a probe
	nearby  = 0.94 // of the pace that was refused: from here on it is probed
	probe   = 0.04 // of the pace: a step of a probe
	reach   = 0.12 // of the pace: how far a probe goes
	backOff = 0.96 // what is left of a pace that was refused after a while

	// At least restTime and restCalls lie between a refusal and the next probe. So probes
	// cost one call in a hundred. A longer pause of NinjaOne makes the rest pauseCost
	// times as long as the pause.
	restTime  = 20 * time.Second
	restCalls = 120
	pauseCost = 8

	// quick is how soon after a pause a further refusal counts as repeated.
	quick = 5 * time.Second
	// A fall within doubt of a probe that went through shows that the probe was fooled.
	// NinjaOne had let calls through on top of its limit.
	doubt = time.Minute

	// Answers take slow times as long as usual when NinjaOne is at its limit. From uneasy
	// on the pace does not rise.
	slow   = 2.0
	uneasy = 1.5

	// From unlimited on a setting means no limit. A refusal then finds the pace from the
	// calls that were made.
	unlimited = 50
)

// Limits are the settings of the pace, in calls per second.
type Limits struct {
	Start float64 // NINJAONE_RATE
	Max   float64 // NINJAONE_RATE_MAX, no less than Start
}

// floor is the pace that nothing pushes below.
func (l Limits) floor() float64 { return min(1, l.Start) }

func (l Limits) within(pace float64) float64 { return min(max(pace, l.floor()), l.Max) }

// learnt is what is known of the pace that an instance of NinjaOne takes. It is a value:
// each observation makes a new one, from the given times and figures alone. Figures are
// calls per second of all processes together, where nothing else is said.
type learnt struct {
	Start  float64   // the setting that it was learnt under
	Pace   float64   // what is allowed now
	Proven float64   // what NinjaOne took for a while: where a probe begins, and returns to
	Judged time.Time // when Pace was last changed or found good

	Refused float64   // the lowest pace known to be turned away; 0: none is
	Lowered time.Time // when a call was last turned away; zero: never
	Strikes int       // repeated refusals
	Paused  time.Time // no call starts before
	Pause   float64   // seconds of the last pause
	Passed  float64   // calls since one was turned away

	Near    bool      // Pace is so close to Refused that only probes go higher
	Probing bool      // Pace is above Proven to see whether Refused still holds
	Good    float64   // the highest step of the probe that passed
	Excess  float64   // calls above Proven in the present probe
	Slack   float64   // calls above its limit that NinjaOne may let through before it turns away
	Freed   time.Time // when a probe last showed that Refused no longer holds
}

// unknown is what is known of an instance at first.
func unknown(l Limits, now time.Time) learnt {
	return learnt{Start: l.Start, Pace: l.Start, Proven: l.Start, Judged: now}
}

// refusal is a call that NinjaOne turned away.
type refusal struct {
	At    time.Time
	Under float64       // the pace when it was sent
	Pause time.Duration // until the next call
	Trial bool          // it was made alone after a pause, so it says nothing of the pace
	Alone bool          // no other process makes calls
	Rate  float64       // calls that passed in the busiest of the last seconds
}

// turnedAway lowers the pace to just below what passed before, and much further
// when that does not help.
func (s learnt) turnedAway(l Limits, r refusal) learnt {
	paused := s.Paused
	if until := r.At.Add(r.Pause); until.After(s.Paused) {
		s.Paused = until
	}
	if r.Under > s.Pace*1.001 {
		return s // it has been lowered since
	}
	if !r.Alone && !r.Trial && r.At.Sub(s.Lowered) < step+step/4 {
		return s // the others may not have heard yet that it has been lowered
	}
	s.Pause = r.Pause.Seconds()
	switch since := r.At.Sub(paused); {
	case r.Trial || !s.Lowered.IsZero() && since < quick:
		s.Strikes++
	default:
		s.Strikes = max(0, s.Strikes-int(min(since/quick, 1000)))
	}
	was := min(s.Pace, max(unlimited, 2*r.Rate))
	if !r.Trial {
		s.Refused = was
	}
	switch {
	case s.Strikes >= 2:
		s = s.fooled(r.At)
		s.Proven, s.Near = was/2, false
	case s.Strikes == 1:
		s.Proven, s.Near = min(s.Proven, was*0.8), false
	case s.Probing:
		s.Proven, s.Near = (s.Proven+s.Good)/2, true
	case was <= s.Proven:
		s.Proven, s.Near = was*backOff, true
	}
	s.Proven = l.within(s.Proven)
	s.Pace, s.Judged, s.Lowered, s.Passed, s.Probing = s.Proven, r.At, r.At, 0, false
	return s
}

// slack is how many calls above the pace a probe makes before it counts.
func (s learnt) slack() float64 { return max(s.Slack, min(20, 2.5*s.Proven)) }

// fooled makes probes longer when the last one went through for nothing.
func (s learnt) fooled(at time.Time) learnt {
	if at.Sub(s.Freed) < doubt {
		s.Slack, s.Freed = min(2*s.slack(), doubt.Seconds()*s.Pace), time.Time{}
	}
	return s
}

// reopened goes on after a pause in which further calls were refused one by one:
// NinjaOne then counts over a longer time, and what passed in the last minute is
// what it allows. Much less than the pace tells only that few calls were made.
func (s learnt) reopened(l Limits, at time.Time, minute float64) learnt {
	pace := l.within(minute * backOff)
	if pace < s.Pace/2 {
		return s
	}
	s = s.fooled(at)
	s.Refused = max(minute, pace) * 1.02
	s.Pace, s.Proven, s.Judged, s.Lowered, s.Passed, s.Strikes = pace, pace, at, at, 0, 0
	s.Near, s.Probing = true, false
	return s
}

// observation is what was seen since the last one.
type observation struct {
	At       time.Time
	Rate     float64 // calls per second that passed
	Passed   int     // calls that passed in this process
	Slowness float64 // how many times as long as usual answers take; 0: not known
}

// judge raises the pace while it is used and NinjaOne takes it. Below what was
// refused it comes near in a few steps. There it rests, and probes from time to
// time whether more is possible now.
func (s learnt) judge(l Limits, o observation) learnt {
	s.Passed += float64(o.Passed)
	if s.Passed > 0 && o.At.After(s.Paused) && o.At.Sub(s.Paused) >= 2*quick {
		s.Strikes = 0
	}
	watched := o.At.Sub(s.Judged)
	if watched < max(step, time.Duration(stepCalls/s.Pace*float64(time.Second)))-step/20 || o.At.Before(s.Paused) {
		return s
	}
	if o.Slowness >= slow && o.Rate >= s.Pace*0.6 && o.At.Sub(s.Lowered) >= restTime {
		s.Refused = s.Pace
		s.Proven = l.within(min(s.Pace, o.Rate) * backOff)
		s.Pace, s.Judged, s.Lowered, s.Passed, s.Pause = s.Proven, o.At, o.At, 0, 0
		s.Near, s.Probing = true, false
		return s
	}
	if o.Rate < s.Pace*demand || o.Slowness >= uneasy {
		return s
	}
	switch {
	case s.Pace >= l.Max:
		s.Proven = s.Pace
		return s
	case s.Refused == 0:
		s.Proven, s.Pace = s.Pace, s.Pace*growth
	case s.Probing:
		s.Good = s.Pace
		s.Excess += (min(o.Rate, s.Pace) - s.Proven) * min(watched, 2*step).Seconds()
		if s.Excess < s.slack() {
			s.Pace = min(s.Pace+s.Proven*probe, s.Proven*(1+reach))
			break
		}
		s.Refused, s.Freed, s.Probing, s.Near = 0, o.At, false, false
		s.Proven, s.Pace = s.Pace, s.Pace*growth
	case s.Near || s.Pace >= s.Refused*nearby:
		s.Near = true
		if o.At.Sub(s.Lowered) < s.rest() || s.Passed < restCalls {
			return s
		}
		s.Probing, s.Good, s.Excess = true, s.Proven, 0
		s.Pace = s.Proven * (1 + probe)
	default:
		s.Proven, s.Pace = s.Pace, min(s.Pace*growth, (s.Pace+s.Refused*aim)/2)
	}
	s.Pace, s.Judged = l.within(s.Pace), o.At
	return s
}

// rest is how long after a refusal the pace is not probed.
func (s learnt) rest() time.Duration {
	return max(restTime, time.Duration(math.Min(s.Pause, 3600)*pauseCost*float64(time.Second)))
}
