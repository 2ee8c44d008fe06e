"""The engine that every change of a fleet rides: plan, states, gates, driver."""
