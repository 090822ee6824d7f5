"""The synthetic people that Headcast ships: modelled, painted and baked from the open head alone. They show nobody."""
