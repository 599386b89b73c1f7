//! plegcollect: agentless evidence collector for Kubernetes nodes.
