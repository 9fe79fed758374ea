"""Partners of other origin than this package's learners: fixed rules of the literature, and weights of others."""

from marl.partners.agents import PARTNERS, RULES, RuleBased, partners
from marl.partners.foreign import jaxmarl_agent

__all__ = ["PARTNERS", "RULES", "RuleBased", "jaxmarl_agent", "partners"]
