"""What keeps an agent within its means: budgets, cycles, gates, breaker."""
